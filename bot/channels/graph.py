"""Meta's Graph API: sends, and what its answers mean.

The treatment of each error follows Meta's documentation of the Send API (Graph API v26.0).

A send has no idempotency key, so it is tried again only after an answer from which we know that nothing
was sent: no connection came about, or Graph itself refused and said why. Whatever else comes back (a
bare 5xx, half an answer, garbage, an error within a success) leaves it unknown.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any, Protocol
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

from bot.client import Client
from bot.inbox import kept_id
from bot.settings import Messenger

QUICK_REPLY_LIMIT, QUICK_REPLIES = 20, 13  # characters of a title; how many of them
PER_SECOND = 250  # sends per account; Meta takes 300 a second and Page
CALL_SECONDS = 30  # for one call as a whole, however slowly the answer drips
LONGEST_WAIT = timedelta(hours=1)  # a Retry-After above is cut
ECHO_WAIT = timedelta(seconds=30)  # before a retry of what Graph has seen: were it sent after all, it says so


class Outcome(StrEnum):
    """What became of a send."""

    SENT = "sent"
    RETRY = "retry"  # nothing was sent; it may be tried again after a while
    THROTTLED = "throttled"  # the whole account must slow down
    NO_TOKEN = "no_token"  # noqa: S105 (nothing to send with: keep the queue, tell the shop)
    TOKEN = "token"  # noqa: S105 (the token is bad: keep the queue, tell the shop)
    WINDOW = "window"  # the customer wrote too long ago
    NOT_OWNER = "not_owner"  # another app, or the Page's inbox, answers this thread
    UNREACHABLE = "unreachable"  # the customer has blocked the Page, or left
    REFUSED = "refused"  # Meta will never take this one
    UNKNOWN = "unknown"  # it may have been sent; its echo tells


@dataclass(frozen=True)
class Answer:
    """An outcome with Meta's id of the message, or the reason; `wait` is the least time to the next try."""

    outcome: Outcome
    detail: str
    wait: timedelta | None = None


# By code and subcode, else by code alone. 1545041 is a subcode of 551: it doesn't mean a closed window.
BY_SUBCODE = {
    (10, 2018278): Outcome.WINDOW,
    (10, 2018065): Outcome.WINDOW,  # its number before 2018278
    (10, 2018108): Outcome.UNREACHABLE,
    (100, 2018001): Outcome.REFUSED,
}
BY_CODE = {
    190: Outcome.TOKEN,
    102: Outcome.TOKEN,
    551: Outcome.UNREACHABLE,
    **dict.fromkeys((4, 613, 17, 32, 80006), Outcome.THROTTLED),
    **dict.fromkeys((2, 1200), Outcome.RETRY),
}
UNKNOWN_ERROR = 1  # Meta's word for it: with a 4xx nothing was done
NOT_OWNER = 2018300
NEVER_LEFT = (  # no connection came about
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ClientHttpProxyError,
    aiohttp.InvalidURL,
    aiohttp.NonHttpUrlClientError,
)
REASONS = {
    Outcome.WINDOW: "the customer wrote too long ago; Meta takes no answer until they write again",
    Outcome.UNREACHABLE: "the customer can't be reached on this channel",
    Outcome.NOT_OWNER: "the Page's inbox or another app has this chat",
    Outcome.TOKEN: "Meta refuses the access token",
}


@dataclass(frozen=True)
class Reply:
    """An HTTP answer as a whole. Names of headers are in lower case."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class NeverLeft(Exception):
    """The request can't have reached Graph."""


class InDoubt(Exception):
    """The request may have reached Graph, and its answer didn't reach us."""


class Line(Protocol):
    """The network, as far as `Graph` needs it."""

    async def ask(
        self, method: str, url: str, token: str, query: dict[str, Any] | None, body: dict[str, Any] | None
    ) -> Reply:
        """One request, asked once. Raises NeverLeft or InDoubt."""

    async def close(self) -> None:
        """Closes the connections."""


class Http:
    """The network itself."""

    def __init__(self) -> None:
        self._client = Client(aiohttp.ClientTimeout(total=20, connect=5))
        self._proxies: dict[str, str | None] = {}  # by host

    async def ask(
        self, method: str, url: str, token: str, query: dict[str, Any] | None, body: dict[str, Any] | None
    ) -> Reply:
        """See `Line`."""
        headers = {"Authorization": f"Bearer {token}"}
        host = urlsplit(url).netloc
        if host not in self._proxies:
            self._proxies[host] = _proxy(url)
        try:
            async with self._client.session.request(
                method, url, params=query, json=body, headers=headers,
                proxy=self._proxies[host], allow_redirects=False,
            ) as response:  # fmt: skip
                named = {name.lower(): value for name, value in response.headers.items()}
                return Reply(response.status, await response.read(), named)
        except NEVER_LEFT as error:
            raise NeverLeft(type(error).__name__) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise InDoubt(type(error).__name__) from error

    async def close(self) -> None:
        """See `Line`."""
        await self._client.close()


def _proxy(url: str) -> str | None:
    """The way out that the environment names (HTTPS_PROXY, NO_PROXY), if it names one."""
    target = urlsplit(url)
    return None if proxy_bypass(target.hostname or "") else getproxies().get(target.scheme)


class Graph:
    """The Send API for every account of the settings."""

    def __init__(self, settings: Messenger, line: Line | None = None) -> None:
        self._settings = settings
        self._line = line or Http()
        self._next: dict[str, float] = defaultdict(float)  # account: when its next send may go

    async def send(
        self,
        account: str,
        thread: str,
        text: str,
        part_id: str,
        buttons: list[dict[str, str]],
        is_late: bool = False,
    ) -> Answer:
        """Sends one text of at most the channel's length.

        `part_id` travels as metadata and comes back in the echo. `is_late`: a person answers after the
        24-hour window, which takes the tag HUMAN_AGENT.
        """
        message: dict[str, Any] = {"text": text, "metadata": part_id}
        if buttons:
            message["quick_replies"] = [
                {"content_type": "text", "title": b["title"][:QUICK_REPLY_LIMIT], "payload": b["button"]}
                for b in buttons[:QUICK_REPLIES]
            ]
        kind = (
            {"messaging_type": "MESSAGE_TAG", "tag": "HUMAN_AGENT"}
            if is_late
            else {"messaging_type": "RESPONSE"}
        )
        answer, data = await self.call(
            account, "POST", "/me/messages", {"recipient": {"id": thread}, **kind, "message": message}
        )
        if answer.outcome is not Outcome.SENT:
            return answer
        mid = kept_id(data.get("message_id"))
        return Answer(Outcome.SENT, mid) if mid else Answer(Outcome.UNKNOWN, "Meta's answer names no message")

    async def act(self, account: str, thread: str, action: str) -> Answer:
        """Shows `mark_seen` or `typing_on` to the customer."""
        body = {"recipient": {"id": thread}, "sender_action": action}
        return (await self.call(account, "POST", "/me/messages", body))[0]

    async def take_thread(self, account: str, thread: str) -> Answer:
        """Takes a thread that another app answers: an agent at the desk speaks now."""
        body = {"recipient": {"id": thread}, "metadata": "an agent took it at the desk"}
        return (await self.call(account, "POST", "/me/take_thread_control", body))[0]

    async def name(self, account: str, thread: str) -> tuple[Answer, str]:
        """A customer's name, where the app may ask for it; else empty."""
        fields = "name,username" if account.startswith("instagram:") else "name,first_name,last_name"
        answer, data = await self.call(account, "GET", f"/{thread}", {"fields": fields})
        given = [data.get(part) for part in ("first_name", "last_name")]
        both = " ".join(part for part in given if isinstance(part, str))
        names = [data.get("name"), both, data.get("username")]
        return answer, next((name.strip() for name in names if isinstance(name, str) and name.strip()), "")

    async def call(
        self, account: str, method: str, path: str, body: dict[str, Any], token: str | None = None
    ) -> tuple[Answer, dict[str, Any]]:
        """One call with the account's token (or `token`): what became of it, and the JSON object in it.

        A GET sends `body` as its query. An answer that is no JSON object gives an empty one.
        """
        token = self._settings.token(account) if token is None else token
        if not token:
            return Answer(Outcome.NO_TOKEN, "no access token is set for this account"), {}
        if not (token.isascii() and token.isprintable()):
            return Answer(Outcome.TOKEN, "the access token holds characters that no token has"), {}
        await self._pace(account)
        query, sent = (body, None) if method == "GET" else (None, body)
        try:
            async with asyncio.timeout(CALL_SECONDS):
                reply = await self._line.ask(method, self._settings.graph_url + path, token, query, sent)
        except NeverLeft as error:
            return Answer(Outcome.RETRY, str(error)), {}
        except InDoubt as error:
            return Answer(Outcome.UNKNOWN, str(error)), {}
        except TimeoutError:
            return Answer(Outcome.UNKNOWN, "TimeoutError"), {}
        return read(reply)

    async def _pace(self, account: str) -> None:
        """At most `PER_SECOND` calls of one account leave this process."""
        now = asyncio.get_running_loop().time()
        due = max(self._next[account], now)
        self._next[account] = due + 1 / PER_SECOND
        if due > now:
            await asyncio.sleep(due - now)

    async def close(self) -> None:
        """Closes the connections."""
        await self._line.close()


def read(reply: Reply) -> tuple[Answer, dict[str, Any]]:
    """What an answer of Graph means, and its JSON object (empty if it has none)."""
    try:
        found = json.loads(reply.body)
    except (ValueError, RecursionError):
        found = None
    data = found if isinstance(found, dict) else {}
    error, status = data.get("error"), str(reply.status)
    if 200 <= reply.status < 300:
        if error or not data:
            held = "an error in it" if error else "no JSON object"
            return Answer(Outcome.UNKNOWN, f"{status} with {held}"), data
        return Answer(Outcome.SENT, ""), data
    if isinstance(error, dict):
        return _refused(reply, error), data
    if reply.status == 429:
        return Answer(Outcome.THROTTLED, status, _wait(reply)), data
    if reply.status == 401:
        return Answer(Outcome.TOKEN, REASONS[Outcome.TOKEN]), data
    # Graph says why it refuses. What doesn't comes from something in between, or from a Graph that is ill.
    return Answer(Outcome.UNKNOWN if _is_in_doubt(reply) else Outcome.RETRY, status), data


def _is_in_doubt(reply: Reply) -> bool:
    """Whether the status leaves open what was done: whoever answers 5xx may have failed after it."""
    return reply.status >= 500 or reply.status == 408


def _refused(reply: Reply, error: dict[str, Any]) -> Answer:
    code, subcode = _number(error.get("code")), _number(error.get("error_subcode"))
    outcome = (
        Outcome.NOT_OWNER if subcode == NOT_OWNER else BY_SUBCODE.get((code, subcode)) or BY_CODE.get(code)
    )
    outcome = outcome or _by_status(reply, code, error)
    said = f"{REASONS[outcome]} " if outcome in REASONS else "refused by Meta "
    detail = f"{said}({code}/{subcode})" if subcode else f"{said}({code})"
    waits = {Outcome.THROTTLED: _wait(reply), Outcome.RETRY: ECHO_WAIT}
    return Answer(outcome, detail, waits.get(outcome))


def _by_status(reply: Reply, code: int, error: dict[str, Any]) -> Outcome:
    """The outcome of an error whose code says nothing of its treatment."""
    if reply.status == 429:
        return Outcome.THROTTLED
    if _is_in_doubt(reply):
        return Outcome.UNKNOWN
    return Outcome.RETRY if code == UNKNOWN_ERROR or error.get("is_transient") is True else Outcome.REFUSED


def _number(value: object) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 12:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _wait(reply: Reply) -> timedelta | None:
    """How long Meta asks to wait (Retry-After in seconds)."""
    asked = reply.headers.get("retry-after", "")
    if not (asked.isascii() and asked.isdigit() and len(asked) < 9):
        return None
    return min(timedelta(seconds=int(asked)), LONGEST_WAIT)
