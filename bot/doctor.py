"""Checks the connection to Meta, step by step, and says for each what is wrong and what to do."""

import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

import httpx

from bot import accounts
from bot.channels.graph import Answer, Graph, Outcome
from bot.channels.profile import FIELDS
from bot.channels.profile import accounts as accounts_of
from bot.settings import Settings
from bot.store.engine import Store

PERMISSIONS = ("pages_messaging", "pages_manage_metadata")
INSTAGRAM_PERMISSIONS = ("instagram_manage_messages", "instagram_basic")
NEEDED = ("messages", "messaging_postbacks", "message_echoes", "standby", "messaging_handovers")
SOON = timedelta(days=14)  # a token that ends sooner is told of
PATH = "/webhooks/messenger"
SECONDS = 10  # for our own webhook to answer; Meta gives it five


class Mark(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "PROBLEM"


@dataclass(frozen=True)
class Finding:
    """What was found at one step, and what to do about it (empty if nothing)."""

    mark: Mark
    subject: str
    found: str
    remedy: str = ""

    def __str__(self) -> str:
        line = f"{self.mark.value:<8} {self.subject}: {self.found}"
        return f"{line}\n         → {self.remedy}" if self.remedy else line


def ok(subject: str, found: str) -> Finding:
    """Nothing to do."""
    return Finding(Mark.OK, subject, found)


def warning(subject: str, found: str, remedy: str) -> Finding:
    """It works, and will not always, or not all of it."""
    return Finding(Mark.WARNING, subject, found, remedy)


def problem(subject: str, found: str, remedy: str) -> Finding:
    """It doesn't work."""
    return Finding(Mark.PROBLEM, subject, found, remedy)


async def examine(settings: Settings, store: Store, graph: Graph) -> AsyncIterator[Finding]:
    """Every finding, in the order in which they are best mended."""
    meta = settings.messenger
    if any((meta.app_id, meta.app_secret, meta.verify_token, meta.page_token, meta.tokens)):
        async for finding in _connection(settings, graph):
            yield finding
    else:
        yield ok("Messenger and Instagram", "not used (no MESSENGER_… setting is there)")
    for finding in _queue(store):
        yield finding


async def _connection(settings: Settings, graph: Graph) -> AsyncIterator[Finding]:
    for finding in _settings(settings):
        yield finding
    for account in accounts_of(settings):
        async for finding in _account(settings, graph, account):
            yield finding
    async for finding in _webhook(settings, graph):
        yield finding


def _settings(settings: Settings) -> list[Finding]:
    meta = settings.messenger
    where = {
        "MESSENGER_APP_ID": (meta.app_id, "it is at the top of your app's page in Meta's app dashboard"),
        "MESSENGER_APP_SECRET": (meta.app_secret, "it is under App settings, Basic"),
        "MESSENGER_VERIFY_TOKEN": (meta.verify_token, "choose one and give it to Meta with the webhook"),
        "MESSENGER_PAGE_TOKEN": (
            meta.page_token or meta.tokens,
            "make one in the app dashboard under Messenger, or list several in MESSENGER_PAGES",
        ),
    }
    found = [
        ok(name, "is set") if value else problem(name, "is missing", f"Set it in .env: {remedy}.")
        for name, (value, remedy) in where.items()
    ]
    if meta.app_id and not meta.app_id.isdigit():
        found.append(problem("MESSENGER_APP_ID", "is no app id", "An app's id has digits only."))
    return found


async def _account(settings: Settings, graph: Graph, account: str) -> AsyncIterator[Finding]:
    """One account's token, permissions, subscription and profile."""
    subject = f"Account {account}" if account else "Page of MESSENGER_PAGE_TOKEN"
    is_instagram = account.startswith("instagram:")
    fields = "id,name,instagram_business_account" if is_instagram else "id,name"
    answer, me = await graph.call(account, "GET", "/me", {"fields": fields})
    if answer.outcome is not Outcome.SENT:
        yield _unanswered(subject, answer, me)
        return
    linked = me.get("instagram_business_account")
    own_id = linked.get("id") if is_instagram and isinstance(linked, dict) else me.get("id")
    if account and str(own_id) != account.removeprefix("instagram:"):
        yield problem(
            subject,
            f"its token is of {own_id or 'nobody with an Instagram account'}",
            "Take the token of this account, or correct its id.",
        )
    else:
        yield ok(subject, f"Meta takes the token of {str(me.get('name') or own_id)[:80]!r}")
    async for finding in _token(settings, graph, account, subject, is_instagram):
        yield finding
    yield await _subscribed(settings, graph, account, subject)
    yield await _profile(graph, account, subject, is_instagram)


def _unanswered(subject: str, answer: Answer, data: dict[str, Any]) -> Finding:
    error = data.get("error")
    said = str(error.get("message", ""))[:200] if isinstance(error, dict) else ""
    found = f"{answer.detail}{f' “{said}”' if said else ''}"
    if answer.outcome is Outcome.TOKEN:
        return problem(subject, found, "Make a new access token in Meta's app dashboard and set it in .env.")
    if answer.outcome in (Outcome.RETRY, Outcome.UNKNOWN):
        return problem(
            subject,
            f"Graph can't be reached ({found})",
            "Check MESSENGER_GRAPH_URL and this machine's way out.",
        )
    if answer.outcome is Outcome.THROTTLED:
        return problem(subject, found, "Meta asks us to slow down. Try again in some minutes.")
    return problem(subject, found, "See Meta's error reference for this code.")


async def _token(
    settings: Settings, graph: Graph, account: str, subject: str, is_instagram: bool
) -> AsyncIterator[Finding]:
    """What Meta says about the token: whose app's it is, until when it lasts, what it permits."""
    meta = settings.messenger
    if not (meta.app_id and meta.app_secret):
        return
    body = {"input_token": meta.token(account)}
    answer, found = await graph.call(account, "GET", "/debug_token", body, f"{meta.app_id}|{meta.app_secret}")
    data = found.get("data")
    if answer.outcome is not Outcome.SENT or not isinstance(data, dict):
        yield problem(
            f"{subject}: app secret",
            f"Meta refuses app id and secret ({answer.detail})",
            "Copy MESSENGER_APP_ID and MESSENGER_APP_SECRET anew from the app dashboard.",
        )
        return
    if data.get("is_valid") is False:
        yield problem(f"{subject}: token", "is not valid", "Make a new access token and set it in .env.")
    if str(data.get("app_id", meta.app_id)) != meta.app_id:
        yield problem(
            f"{subject}: token",
            f"is of another app ({data['app_id']})",
            "Make the token with the app whose id is in MESSENGER_APP_ID.",
        )
    yield _lasts(f"{subject}: token", data)
    scopes = data.get("scopes")
    granted = set(map(str, scopes)) if isinstance(scopes, list) else set()
    needed = PERMISSIONS + (INSTAGRAM_PERMISSIONS if is_instagram else ())
    missing = [name for name in needed if name not in granted]
    if missing:
        yield problem(
            f"{subject}: permissions",
            f"missing: {', '.join(missing)}",
            "Grant them when you make the token; for the public they need Meta's App Review.",
        )
    else:
        yield ok(f"{subject}: permissions", ", ".join(needed))


def _lasts(subject: str, data: dict[str, Any]) -> Finding:
    ends = [data.get("expires_at"), data.get("data_access_expires_at")]
    times = [end for end in ends if isinstance(end, int) and not isinstance(end, bool) and 0 < end < 2**33]
    if not times:
        return ok(subject, "doesn't expire")
    end = datetime.fromtimestamp(min(times), UTC)
    if end - datetime.now(UTC) < SOON:
        return warning(subject, f"expires on {end:%Y-%m-%d}", "Renew it before then; make one that lasts.")
    return ok(subject, f"lasts until {end:%Y-%m-%d}")


async def _subscribed(settings: Settings, graph: Graph, account: str, subject: str) -> Finding:
    """Whether the Page sends its events to our app, and which."""
    subject = f"{subject}: subscription"
    answer, found = await graph.call(account, "GET", "/me/subscribed_apps", {})
    if answer.outcome is not Outcome.SENT:
        return _unanswered(subject, answer, found)
    apps = [app for app in _dicts(found.get("data")) if str(app.get("id")) == settings.messenger.app_id]
    if not apps:
        return problem(
            subject, "this Page sends its events to other apps only", "Run `python -m bot set-up-messenger`."
        )
    return _fields(subject, apps[0].get("subscribed_fields"), "Run `python -m bot set-up-messenger`.")


def _fields(subject: str, listed: object, remedy: str) -> Finding:
    names = {
        str(one.get("name")) if isinstance(one, dict) else str(one)
        for one in (listed if isinstance(listed, list) else [])
    }
    missing = [name for name in NEEDED if name not in names]
    if missing:
        return problem(subject, f"without {', '.join(missing)}", remedy)
    absent = [name for name in FIELDS if name not in names]
    if absent:
        return warning(subject, f"works, but the desk doesn't learn of {', '.join(absent)}", remedy)
    if "feed" in names:
        return warning(
            subject,
            "public comments (feed) are kept and counted, but nobody is shown them",
            "Answer comments at Meta; unsubscribe the field if nothing else of yours needs it.",
        )
    return ok(subject, "every field that we use")


async def _profile(graph: Graph, account: str, subject: str, is_instagram: bool) -> Finding:
    subject = f"{subject}: welcome"
    wanted = ["ice_breakers"] if is_instagram else ["get_started", "greeting", "ice_breakers"]
    query = {"fields": ",".join(wanted)} | ({"platform": "instagram"} if is_instagram else {})
    answer, found = await graph.call(account, "GET", "/me/messenger_profile", query)
    if answer.outcome is not Outcome.SENT:
        return warning(subject, answer.detail, "Run `python -m bot set-up-messenger`.")
    there = {name for one in _dicts(found.get("data")) for name in one}
    missing = [name for name in wanted if name not in there]
    if missing and not (is_instagram and "call_to_actions" in there):
        return warning(subject, f"not set: {', '.join(missing)}", "Run `python -m bot set-up-messenger`.")
    return ok(subject, ", ".join(wanted))


async def _webhook(settings: Settings, graph: Graph) -> AsyncIterator[Finding]:
    """The app's webhook at Meta, and whether it leads here."""
    meta = settings.messenger
    if not (meta.app_id and meta.app_secret):
        return
    answer, found = await graph.call(
        "", "GET", f"/{meta.app_id}/subscriptions", {}, f"{meta.app_id}|{meta.app_secret}"
    )
    if answer.outcome is not Outcome.SENT:
        yield _unanswered("Webhook", answer, found)
        return
    hooks = {str(hook.get("object")): hook for hook in _dicts(found.get("data"))}
    wanted = {"instagram" if name.startswith("instagram:") else "page" for name in accounts_of(settings)}
    for kind in sorted(wanted or {"page"}):
        hook = hooks.get(kind)
        subject = f"Webhook for {kind}"
        address = str(hook.get("callback_url", "")) if hook else ""
        if hook is None or not address:
            yield problem(
                subject,
                "Meta has none",
                f"In the app dashboard set it to https://your.address{PATH} with the verify token.",
            )
            continue
        if hook.get("active") is False:
            yield problem(
                subject, "is switched off", "Meta disables one that fails for an hour. Set it anew."
            )
        if urlsplit(address).path.rstrip("/") != PATH:
            yield problem(subject, f"leads to {address}", f"It must end in {PATH}.")
        elif kind == "page":
            yield _fields(subject, hook.get("fields"), "Subscribe them for the app in the dashboard.")
        async for finding in _reached(meta.verify_token, address, subject):
            yield finding


async def _reached(verify_token: str, address: str, subject: str) -> AsyncIterator[Finding]:
    """Calls our own webhook as Meta would."""
    challenge = secrets.token_hex(8)
    query = {"hub.mode": "subscribe", "hub.verify_token": verify_token, "hub.challenge": challenge}
    try:
        async with httpx.AsyncClient(timeout=SECONDS) as client:
            shown = await client.get(address, params=query)
            forged = await client.post(address, content=b"{}", headers={"X-Hub-Signature-256": "sha256=00"})
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        yield problem(
            subject,
            f"{address} can't be reached from here ({type(error).__name__})",
            "Start the product, and check the address, its certificate and the proxy.",
        )
        return
    if shown.status_code == 200 and shown.text == challenge:
        yield ok(subject, f"{address} answers, and takes the verify token")
    elif shown.status_code == 403:
        yield problem(
            subject,
            f"{address} refuses the verify token",
            "The process that answers there runs with another MESSENGER_VERIFY_TOKEN; restart it.",
        )
    else:
        yield problem(
            subject, f"{address} answers {shown.status_code}, and not as we would", "Check the proxy."
        )
    if forged.status_code not in (401, 403):
        yield problem(
            subject,
            f"a forged webhook got {forged.status_code} there, and not 403",
            "Something else answers at this address; check the proxy.",
        )


def _queue(store: Store) -> list[Finding]:
    """What the running product has met."""
    with store.read() as session:
        found = accounts.alerts(session)
    return [
        problem(
            f"Account {alert.account}",
            f"{alert.trouble.value} since {alert.since:%Y-%m-%d %H:%M} UTC; {alert.waiting} messages kept",
            "Mend what is told above; what was kept is then sent within a minute.",
        )
        for alert in found
    ] or [ok("Queue", "no account is in trouble")]


def _dicts(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
