"""Facebook Messenger: verify and parse a webhook, send through the Send API.

Facts: Meta's Messenger Platform documentation, Graph API v26.0. A webhook that isn't answered with
200 for an hour is disabled by Meta, so whatever is signed is acknowledged, known or not.
"""

import hashlib
import hmac
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import httpx
import structlog

from bot.domain.errors import BadInput, NotAllowed
from bot.domain.words import Button, Channel
from bot.inbox import ID_LENGTH, Incoming, Kind
from bot.settings import Messenger

TEXT_LIMIT = 2_000  # characters in one message of the Send API
QUICK_REPLY_LIMIT = 20  # characters of its title
SECONDS_LIMIT = 10**11  # a timestamp below this is in seconds, above in milliseconds
LIKE_STICKERS = {"369239263222822", "369239343222814", "369239383222810"}  # small, medium, large thumb
PAYLOADS = {"HANDOFF_REQUEST": Button.PERSON}
log = structlog.get_logger()


def verify_subscription(settings: Messenger, mode: str, token: str, challenge: str) -> str:
    """Meta's check of the webhook's address: the challenge to echo. Raises NotAllowed."""
    expected = settings.verify_token
    if mode != "subscribe" or not expected or not hmac.compare_digest(token.encode(), expected.encode()):
        raise NotAllowed("The verify token is wrong.")
    return challenge


def verify_signature(settings: Messenger, body: bytes, header: str) -> None:
    """HMAC-SHA256 of the raw body with the app secret, as `sha256=<hex>`. Raises NotAllowed."""
    if not settings.app_secret:
        raise NotAllowed("MESSENGER_APP_SECRET isn't set, so no webhook can be trusted.")
    expected = "sha256=" + hmac.new(settings.app_secret.encode(), body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(header.encode(), expected.encode()):
        raise NotAllowed("The signature is wrong.")


def parse(settings: Messenger, body: bytes) -> list[Incoming]:
    """Every event of a batch, in its order; what can't be understood is kept as `other`.

    Raises BadInput only when the body isn't a JSON object.
    """
    try:
        data = json.loads(body, parse_constant=lambda _: None)  # NaN is no JSON to a database
    except (ValueError, RecursionError):
        raise BadInput("The body isn't JSON.") from None
    if not isinstance(data, dict):
        raise BadInput("The body isn't a JSON object.")
    return [event for entry in _dicts(data.get("entry")) for event in _entry(settings, entry)]


def _entry(settings: Messenger, entry: dict[str, Any]) -> Iterator[Incoming]:
    page = _text(str(entry.get("id", "")))[:80]
    for standby, name in ((False, "messaging"), (True, "standby")):
        for event in _dicts(entry.get(name)):
            yield _event(settings, page, event, standby)
    for change in _dicts(entry.get("changes")):
        yield _other(page, "", change, entry.get("time"))


def _event(settings: Messenger, page: str, event: dict[str, Any], standby: bool) -> Incoming:
    message, postback = _dict(event.get("message")), _dict(event.get("postback"))
    sender, recipient = (_id(event.get(side)) for side in ("sender", "recipient"))
    if message.get("is_echo"):
        return _echo(settings, page, recipient, event, message)
    said = message or postback
    mid = _text(said.get("mid"))
    if not sender or not 0 < len(mid) <= ID_LENGTH:
        return _thread(settings, page, sender, event)
    payload = _postback(postback) if postback else _message(message)
    kind = Kind.STANDBY if standby else Kind.MESSAGE
    if not (payload["text"] or payload["attachments"] or payload.get("button")):
        kind = Kind.OTHER
    return Incoming(Channel.MESSENGER, page, sender, mid, kind, payload, _time(event.get("timestamp")))


def _message(message: dict[str, Any]) -> dict[str, Any]:
    items = _dicts(message.get("attachments"))
    likes = [item for item in items if str(_dict(item.get("payload")).get("sticker_id")) in LIKE_STICKERS]
    attachments = [
        {"type": _text(item.get("type"))[:40] or "file", "url": _text(_dict(item.get("payload")).get("url"))}
        for item in items
        if item not in likes
    ]
    return {
        "text": _text(message.get("text")) or ("👍" if likes else ""),
        "attachments": attachments,
        "button": _button(_dict(message.get("quick_reply")).get("payload")),
    }


def _postback(postback: dict[str, Any]) -> dict[str, Any]:
    return {
        "text": _text(postback.get("title")),
        "attachments": [],
        "button": _button(postback.get("payload")),
    }


def _button(payload: object) -> str | None:
    if not isinstance(payload, str):
        return None
    known = PAYLOADS.get(payload) or (payload if payload in set(Button) else None)
    return Button(known).value if known else None


def _echo(
    settings: Messenger, page: str, customer: str, event: dict[str, Any], message: dict[str, Any]
) -> Incoming:
    """What was sent to a customer: by us (it settles a delivery), or by a person or app elsewhere."""
    mid = _text(message.get("mid"))
    if not customer or not 0 < len(mid) <= ID_LENGTH:
        return _other(page, customer, event, event.get("timestamp"))
    ours = str(message.get("app_id", "")) == settings.app_id != ""
    payload = {
        "text": _text(message.get("text")),
        "metadata": _text(message.get("metadata")),
        "ours": ours,
    }
    return Incoming(Channel.MESSENGER, page, customer, mid, Kind.ECHO, payload, _time(event.get("timestamp")))


def _thread(settings: Messenger, page: str, sender: str, event: dict[str, Any]) -> Incoming:
    """Conversation Routing: who answers the thread now. Everything else is `other`."""
    control = _dict(event.get("pass_thread_control"))
    if not control or not sender:
        return _other(page, sender, event, event.get("timestamp"))
    ours = str(control.get("new_owner_app_id", "")) == settings.app_id != ""
    return Incoming(
        Channel.MESSENGER,
        page,
        sender,
        _fingerprint(event),
        Kind.THREAD,
        {"ours": ours},
        _time(event.get("timestamp")),
    )


def _other(page: str, thread: str, event: dict[str, Any], at: object) -> Incoming:
    """Kept as it came: reads, deliveries, reactions, labels, comments and what Meta adds next."""
    return Incoming(
        Channel.MESSENGER, page, thread, _fingerprint(event), Kind.OTHER, {"event": event}, _time(at)
    )


def _fingerprint(event: dict[str, Any]) -> str:
    """An id for an event without one: a redelivery is the same to the letter."""
    return "sha256:" + hashlib.sha256(json.dumps(event, sort_keys=True).encode()).hexdigest()


def _time(value: object) -> datetime:
    """Meta's timestamp: milliseconds, sometimes seconds. Now, if it is missing or absurd."""
    if isinstance(value, int | float) and value > 0:
        try:
            return datetime.fromtimestamp(value if value < SECONDS_LIMIT else value / 1000, UTC)
        except (OverflowError, ValueError, OSError):
            pass
    return datetime.now(UTC)


def _text(value: object) -> str:
    """A text as databases can hold it: no NUL, no lone surrogate."""
    text = value if isinstance(value, str) else ""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def _id(side: object) -> str:
    """A sender's or recipient's id."""
    return _text(str(_dict(side).get("id", "")))[:120]


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _dicts(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


class Outcome(StrEnum):
    """What became of a send."""

    SENT = "sent"
    RETRY = "retry"  # nothing was sent; try again after a while
    REFUSED = "refused"  # Meta will never take this one
    HALT = "halt"  # the token is bad: keep the queue, tell the shop
    UNKNOWN = "unknown"  # it may have been sent; its echo tells


RETRY_CODES = {1200, 2, 1, 4, 613, 32, 17}
HALT_CODES = {190}


class Graph:
    """The Send API for one Page."""

    def __init__(self, settings: Messenger, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._settings = settings
        self._client = httpx.AsyncClient(
            base_url=settings.graph_url, timeout=httpx.Timeout(20, connect=5), transport=transport
        )

    async def send(
        self, thread: str, text: str, message_id: str, buttons: list[dict[str, str]]
    ) -> tuple[Outcome, str]:
        """Sends one text; returns what became of it, and Meta's id of it or the reason.

        `message_id` travels as metadata and comes back in the echo.
        """
        message: dict[str, Any] = {"text": text, "metadata": message_id}
        if buttons:
            message["quick_replies"] = [
                {"content_type": "text", "title": b["title"][:QUICK_REPLY_LIMIT], "payload": b["button"]}
                for b in buttons
            ]
        body = {"recipient": {"id": thread}, "messaging_type": "RESPONSE", "message": message}
        try:
            response = await self._client.post(
                "/me/messages",
                json=body,
                headers={"Authorization": f"Bearer {self._settings.page_token}"},
            )
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            return Outcome.RETRY, type(error).__name__
        except httpx.HTTPError as error:
            return Outcome.UNKNOWN, type(error).__name__
        return _outcome(response)

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()


def _outcome(response: httpx.Response) -> tuple[Outcome, str]:
    try:
        data = _dict(response.json())
    except ValueError:
        data = {}
    error = _dict(data.get("error"))
    code = error.get("code")
    reason = (
        f"{response.status_code} {code}/{error.get('error_subcode')}" if error else str(response.status_code)
    )
    if response.is_success and isinstance(data.get("message_id"), str):
        return Outcome.SENT, data["message_id"]
    if code in HALT_CODES:
        return Outcome.HALT, reason
    if code in RETRY_CODES or response.status_code == 429 or (response.status_code >= 500 and not error):
        return Outcome.RETRY, reason
    # A success that names no message may have sent it; any other refusal is final.
    return (Outcome.UNKNOWN if response.is_success else Outcome.REFUSED), reason


def split(text: str) -> list[str]:
    """A long text as messages of at most `TEXT_LIMIT`, cut at a sentence or a word where possible."""
    parts = []
    while len(text) > TEXT_LIMIT:
        head = text[:TEXT_LIMIT]
        cut = max(head.rfind(mark) + len(mark) for mark in ("\n", ". ", "! ", "? ", "。"))
        if cut < TEXT_LIMIT // 2:
            cut = head.rfind(" ") + 1 or TEXT_LIMIT
        parts.append(text[:cut].strip())
        text = text[cut:]
    return [*parts, text.strip()] if text.strip() else parts
