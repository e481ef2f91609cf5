"""Facebook Messenger and Instagram direct messages: verify a webhook and read its events.

Facts: Meta's Messenger Platform documentation, Graph API v26.0. A webhook that isn't answered with
200 for an hour is disabled by Meta, so whatever is signed is acknowledged, known or not. We read
liberally (an id may be a number, a field may be missing) and keep strictly (plain texts of bounded
length, web addresses only).
"""

import hashlib
import hmac
import json
import math
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bot.domain.errors import BadInput, NotAllowed
from bot.domain.words import Button, Channel
from bot.filing import Kind
from bot.inbox import ID_LENGTH, Incoming, kept_id
from bot.ratings import QUESTION
from bot.settings import Messenger

ACCOUNT_LENGTH, THREAD_LENGTH = 80, 120  # what the columns hold
ADDRESS_LIMIT, TITLE_LIMIT = 2_000, 200  # characters of what an attachment refers to
ATTACHMENTS_LIMIT = 30  # of one message
MIDS_LIMIT = 500  # of one receipt
DEPTH_LIMIT = 30  # objects within objects; Meta's deepest event has nine
DIGITS_LIMIT = 40  # of a number; Meta's ids have about 17
SECONDS_LIMIT = 10**11  # a timestamp below this is in seconds, above in milliseconds
LIKE_STICKERS = {"369239263222822", "369239343222814", "369239383222810"}  # small, medium, large thumb
PAYLOADS = {"HANDOFF_REQUEST": Button.PERSON, "GET_STARTED": Button.START}
COMMENT_FIELDS = ("comments", "live_comments")  # Instagram's; a Page's come with everything else of its feed
CONTROLS = ("pass_thread_control", "take_thread_control", "release_thread_control")


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
        data = clean(json.loads(body.decode("utf-8-sig", "replace"), parse_int=_int))
    except (ValueError, RecursionError):
        raise BadInput("The body isn't JSON.") from None
    if not isinstance(data, dict):
        raise BadInput("The body isn't a JSON object.")
    channel = Channel.INSTAGRAM if data.get("object") == "instagram" else Channel.MESSENGER
    return [event for entry in _dicts(data.get("entry")) for event in _entry(settings, channel, entry)]


def clean(value: Any, depth: int = 0) -> Any:
    """A JSON value as every database can hold it: no NUL, no lone surrogate, no infinity, no abyss."""
    if isinstance(value, str):
        return value.replace("\0", "").encode("utf-8", "replace").decode()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict | list) and depth >= DEPTH_LIMIT:
        return None
    if isinstance(value, dict):
        return {clean(key): clean(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [clean(item, depth + 1) for item in value]
    return value


@dataclass(frozen=True)
class Source:
    """Where an event came from. `page` is the Page's or Instagram account's own id."""

    settings: Messenger
    channel: Channel
    page: str
    event: dict[str, Any]
    at: datetime

    @property
    def account(self) -> str:
        """The account as we name it; Instagram's ids are no Pages'."""
        return account_name(self.channel, self.page)

    @property
    def customer(self) -> str:
        """The side that isn't the Page; empty if there is none."""
        sides = [_id(self.event.get(side)) for side in ("sender", "recipient")]
        return next((side for side in sides if side and side != self.page), "")

    def app(self, app_id: object) -> str:
        """Whose app that is: "us", "other", or empty if none is named."""
        named = _text(str(app_id)) if app_id not in (None, "", 0) else ""
        return "" if not named else "us" if named == self.settings.app_id else "other"

    def incoming(
        self, kind: Kind, payload: dict[str, Any], external_id: str = "", about: str | None = None
    ) -> Incoming:
        """The event for the inbox. Without an id of its own it gets a fingerprint."""
        own_id = external_id or _fingerprint(self.event)
        thread = self.customer[:THREAD_LENGTH]
        return Incoming(self.channel, self.account, thread, own_id, kind, payload, self.at, about)

    def other(self) -> Incoming:
        """Kept as it came: labels, feedback and what Meta adds next."""
        return self.incoming(Kind.OTHER, {"event": self.event})


def account_name(channel: Channel, page: str) -> str:
    """How an account is named in the database."""
    return f"instagram:{page}"[:ACCOUNT_LENGTH] if channel is Channel.INSTAGRAM else page[:ACCOUNT_LENGTH]


def _entry(settings: Messenger, channel: Channel, entry: dict[str, Any]) -> Iterator[Incoming]:
    for name in ("messaging", "standby"):
        for event in _dicts(entry.get(name)):
            yield _event(_source(settings, channel, entry, event), name == "standby")
    for change in _dicts(entry.get("changes")):
        value = _dict(change.get("value"))
        if _id(value.get("sender")) and _id(value.get("recipient")):  # Instagram's other form of an event
            yield _event(_source(settings, channel, entry, value), change.get("field") == "standby")
        else:
            yield _change(_source(settings, channel, entry, change), value)


def _change(source: Source, value: dict[str, Any]) -> Incoming:
    """A public comment of somebody else's, or a change that is nothing to us."""
    field = source.event.get("field")
    is_new = field in COMMENT_FIELDS or (
        field == "feed" and value.get("item") == "comment" and value.get("verb") == "add"
    )
    if not is_new or _id(value.get("from")) == source.page:
        return source.other()
    named = kept_id(value.get("comment_id")) or kept_id(value.get("id"))
    return source.incoming(
        Kind.COMMENT, {"event": source.event}, f"comment:{named}"[:ID_LENGTH] if named else ""
    )


def _source(settings: Messenger, channel: Channel, entry: dict[str, Any], event: dict[str, Any]) -> Source:
    echoed = _dict(event.get("message")).get("is_echo")
    page = _scalar(entry.get("id")) or _id(event.get("sender" if echoed else "recipient"))
    at = _time(event.get("timestamp")) or _time(entry.get("time")) or datetime.now(UTC)
    return Source(settings, channel, page, event, at)


def _event(source: Source, standby: bool) -> Incoming:
    event = source.event
    if "policy_enforcement" in event:
        return _policy(source)
    if not 0 < len(source.customer) <= THREAD_LENGTH:
        return source.other()
    for name, read in _READERS.items():
        if isinstance(event.get(name), dict):
            return read(source, event[name], standby) or source.other()
    for control in CONTROLS:
        if control in event:
            return _thread(source, control)
    return source.other()


def _message(source: Source, message: dict[str, Any], standby: bool) -> Incoming | None:
    mid = kept_id(message.get("mid"))
    if message.get("is_deleted"):
        return source.incoming(Kind.UNSENT, {}, about=mid) if mid else None
    attachments, liked = _attachments(message)
    payload = {
        "text": _scalar(message.get("text")) or ("👍" if liked else ""),
        "attachments": attachments,
        "button": _button(_dict(message.get("quick_reply")).get("payload")),
        "referral": _referral(message.get("referral")),
    }
    if not (payload["text"] or attachments):
        payload["attachments"] = [{"type": "unsupported", "url": ""}]  # there is something; a person looks
    if message.get("is_echo") or _id(source.event.get("sender")) == source.page:
        return _echo(source, message, mid, payload)
    return source.incoming(Kind.STANDBY if standby else Kind.MESSAGE, payload, mid)


def _echo(source: Source, message: dict[str, Any], mid: str, payload: dict[str, Any]) -> Incoming:
    """What was sent to a customer: by us (it settles a delivery), or by a person or app elsewhere."""
    about_it = {"metadata": _text(message.get("metadata")), "app": source.app(message.get("app_id"))}
    kept = {name: payload[name] for name in ("text", "attachments")}
    return source.incoming(Kind.ECHO, kept | about_it, mid)


def _postback(source: Source, postback: dict[str, Any], standby: bool) -> Incoming | None:
    """A button's title counts as what the customer wrote, except Get Started's: that is no word of theirs."""
    title, button = _scalar(postback.get("title")), _button(postback.get("payload"))
    payload: dict[str, Any] = {
        "text": "" if button == Button.START else title,
        "attachments": [],
        "button": button,
        "referral": _referral(postback.get("referral")),
    }
    if button == Button.START:
        payload["language"] = _language(title)
    elif not title and not button:
        payload["attachments"] = [{"type": "button", "url": ""}]
    kind = Kind.STANDBY if standby else Kind.MESSAGE
    return source.incoming(kind, payload, kept_id(postback.get("mid")))


def _edit(source: Source, edit: dict[str, Any], _standby: bool) -> Incoming | None:
    mid, text = kept_id(edit.get("mid")), _scalar(edit.get("text"))
    if not (mid and text):
        return None
    return source.incoming(Kind.EDIT, {"text": text}, about=mid)


def _reaction(source: Source, reaction: dict[str, Any], _standby: bool) -> Incoming | None:
    mid = kept_id(reaction.get("mid"))
    if not mid:
        return None
    shown = _text(reaction.get("emoji")) or _text(reaction.get("reaction")) or "❤"
    taken_back = reaction.get("action") == "unreact"
    return source.incoming(Kind.REACTION, {"reaction": None if taken_back else shown[:40]}, about=mid)


def _delivery(source: Source, delivery: dict[str, Any], _standby: bool) -> Incoming:
    return _receipt(source, Kind.DELIVERED, delivery)


def _read(source: Source, read: dict[str, Any], _standby: bool) -> Incoming:
    return _receipt(source, Kind.READ, read)


def _receipt(source: Source, kind: Kind, receipt: dict[str, Any]) -> Incoming:
    """`mids` are optional, and Instagram names one `mid` and no watermark."""
    listed = receipt.get("mids")
    mids = [kept_id(mid) for mid in [*(listed if isinstance(listed, list) else []), receipt.get("mid")]]
    until = _time(receipt.get("watermark")) or (None if any(mids) else source.at)
    payload = {
        "mids": [mid for mid in mids if mid][:MIDS_LIMIT],
        "until": until.isoformat() if until else None,
    }
    return source.incoming(kind, payload)


def _only_referral(source: Source, referral: dict[str, Any], _standby: bool) -> Incoming:
    return source.incoming(Kind.REFERRAL, {"referral": _referral(referral)})


def _feedback(source: Source, feedback: dict[str, Any], _standby: bool) -> Incoming | None:
    """The answer to our rating template; the question's id names the conversation."""
    for screen in _dicts(feedback.get("feedback_screens")):
        for name, answer in _dict(screen.get("questions")).items():
            score, number = _scalar(_dict(answer).get("payload")), name.removeprefix(QUESTION)
            ours = name.startswith(QUESTION) and number.isascii() and number.isdigit() and len(number) < 10
            if ours and score in ("1", "2", "3", "4", "5"):
                comment = _text(_dict(_dict(answer).get("follow_up")).get("payload"))
                payload = {"conversation": int(number), "score": int(score), "comment": comment[:1_000]}
                return source.incoming(Kind.FEEDBACK, payload)
    return None


def _thread(source: Source, control: str) -> Incoming:
    """Conversation Routing: who answers the thread now. Let go or passed to nobody, it is ours again."""
    new_owner = _dict(source.event.get(control)).get("new_owner_app_id")
    owner = source.app(new_owner) or ("other" if control == "take_thread_control" else "us")
    return source.incoming(Kind.THREAD, {"owner": owner})


def _policy(source: Source) -> Incoming:
    """Meta's enforcement against the Page; it has no sender."""
    policy = _dict(source.event.get("policy_enforcement"))
    blocked = policy.get("action") != "unblock"
    return source.incoming(Kind.POLICY, {"blocked": blocked, "reason": _text(policy.get("reason"))[:400]})


_READERS: dict[str, Callable[[Source, dict[str, Any], bool], Incoming | None]] = {
    "message": _message,
    "postback": _postback,
    "message_edit": _edit,
    "reaction": _reaction,
    "delivery": _delivery,
    "read": _read,
    "referral": _only_referral,
    "messaging_feedback": _feedback,
}


def _attachments(message: dict[str, Any]) -> tuple[list[dict[str, str]], bool]:
    """Attachments by reference, and whether a thumb was among them: that is a word, not a picture."""
    found, liked = [], str(message.get("sticker_id")) in LIKE_STICKERS
    for item in _dicts(message.get("attachments"))[:ATTACHMENTS_LIMIT]:
        payload = _dict(item.get("payload"))
        if str(payload.get("sticker_id")) in LIKE_STICKERS:
            liked = True
        elif not (liked and message.get("sticker_id")):
            found.append(_attachment(item, payload))
    return found, liked


def _attachment(item: dict[str, Any], payload: dict[str, Any]) -> dict[str, str]:
    kind = "".join(c for c in _text(item.get("type")).lower() if c.isalnum() or c == "_")[:40]
    if kind == "image" and payload.get("sticker_id"):  # stickers were images until August 2026
        kind = "sticker"
    where = _dict(payload.get("coordinates"))
    place = ", ".join(
        str(where[axis]) for axis in ("lat", "long") if isinstance(where.get(axis), int | float)
    )
    title = _text(payload.get("title")) or _text(item.get("title")) or place
    address = _address(payload.get("url")) or _address(item.get("url")) or _address(item.get("URL"))
    kept = {"type": kind or "file", "url": address}
    return kept | {"title": title[:TITLE_LIMIT]} if title else kept


def _address(value: object) -> str:
    """A web address to refer to; anything else (a script, a file, half an address) is none."""
    address = _text(value).strip()
    printable = address.isprintable() and not any(c in address for c in " \"'<>\\")
    is_web = address.lower().startswith(("https://", "http://"))
    return address if is_web and printable and len(address) <= ADDRESS_LIMIT else ""


def _referral(value: object) -> dict[str, str] | None:
    """What led the customer here, as far as it is text."""
    referral = _dict(value)
    kept = {name: _text(referral.get(name))[:400] for name in ("ref", "source", "type", "ad_id")}
    kept["ad_title"] = _text(_dict(referral.get("ads_context_data")).get("ad_title"))[:400]
    return {name: text for name, text in kept.items() if text} or None


def _button(payload: object) -> str | None:
    if not isinstance(payload, str):
        return None
    known = PAYLOADS.get(payload) or (payload if payload in set(Button) else None)
    return Button(known).value if known else None


def _language(title: str) -> str | None:
    """The language of Messenger's own Get Started label, where its script tells."""
    names = {unicodedata.name(letter, "").partition(" ")[0] for letter in title}
    return "ko" if "HANGUL" in names else "ja" if names & {"HIRAGANA", "KATAKANA"} else None


def _fingerprint(event: dict[str, Any]) -> str:
    """An id for an event without one: a redelivery is the same to the letter."""
    return "sha256:" + hashlib.sha256(json.dumps(event, sort_keys=True).encode()).hexdigest()


def _time(value: object) -> datetime | None:
    """Meta's timestamp: milliseconds, sometimes seconds. None if it is missing or absurd."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    if isinstance(value, int | float) and value > 0:
        with suppress(OverflowError, ValueError, OSError):
            return datetime.fromtimestamp(value if value < SECONDS_LIMIT else value / 1000, UTC)
    return None


def _int(digits: str) -> int | str:
    """A number of a length that isn't one is kept as it was written."""
    return int(digits) if len(digits) < DIGITS_LIMIT else digits


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _scalar(value: object) -> str:
    """An id, which some senders write as a number."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else _text(value)


def _id(side: object) -> str:
    """A sender's or recipient's id."""
    return _scalar(_dict(side).get("id"))


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _dicts(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
