"""What each kind of inbox item does to a conversation.

`file_item` is called once for each item, in the order of arrival, inside a transaction of
`bot.inbox`. Events may arrive in any order: what refers to a message that isn't there yet (`about`)
is carried out when the message comes; a watermark only moves forward; the channel's own time decides
which of two edits, reactions or hand-overs between apps is the later.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bot import accounts, live, ratings, tagging
from bot.domain.conversation import is_idle
from bot.domain.texts import split
from bot.domain.words import Author, Channel, Ending, State, Status
from bot.store import news, queries, rows
from bot.store.news import PATIENT, Guest, News, Work
from bot.store.tables import Contact, Conversation, HandOff, Identity, InboxItem, Message, Part

DAY = timedelta(days=1)


class Kind(StrEnum):
    """What an inbox item is, and what its payload holds."""

    MESSAGE = "message"  # text, attachments, button, name, email, language, referral
    STANDBY = "standby"  # a message that another app or person is answering
    ECHO = "echo"  # text, attachments, metadata, app: what was sent to a customer, by us or another
    THREAD = "thread"  # owner: "us" or "other"; who answers the thread from now on
    EDIT = "edit"  # text: the message was changed by its customer
    UNSENT = "unsent"  # the message was taken back by its customer
    REACTION = "reaction"  # reaction: an emoji or a name; None takes it back
    DELIVERED = "delivered"  # mids, until (ISO): messages that have arrived
    READ = "read"  # mids, until (ISO): messages that were read
    REFERRAL = "referral"  # referral: what led the customer here
    FEEDBACK = "feedback"  # conversation, score, comment: the answer to Meta's rating template
    POLICY = "policy"  # blocked, reason: Meta's enforcement against the account
    COMMENT = "comment"  # a public comment: kept and counted; nobody answers it yet
    OTHER = "other"  # known or not, nothing to do; kept


CHANGES = (Kind.EDIT, Kind.UNSENT, Kind.REACTION)


@dataclass(frozen=True)
class Times:
    """The time, and the rule's times that filing needs."""

    now: datetime
    burst: timedelta
    idle: timedelta


def file_item(session: Session, item: InboxItem, times: Times) -> None:
    """Carries one item out. Raises ValueError, KeyError or TypeError if its payload is damaged."""
    step = _STEPS.get(Kind(item.kind))
    if step:
        with session.no_autoflush:  # what looks for its own writes says so
            step(session, item, times)


def settle_by_id(session: Session, account: str, external_id: str, now: datetime) -> None:
    """A message has got its external id: what came in about it before that is carried out now."""
    asked = {"account": account, "about": external_id}
    if session.execute(_HAS_EARLY, asked).first() is None:
        return
    for item in session.scalars(_EARLY, asked).all():
        session.flush()  # the message is read anew from the database
        _change(session, item, Times(now, timedelta(0), DAY))


def close_if_idle(session: Session, conversation: Conversation, now: datetime, idle: timedelta) -> bool:
    """Closes a conversation that has ended by silence; says whether it did.

    One with a turn that is still due has not, nor one that is snoozed: after that its silence begins anew.
    """
    if now - conversation.last_message_at < idle or conversation.due_at is not None:
        return False
    put_off = sa.select(Conversation.id).where(
        Conversation.id == conversation.id, queries.put_off_since(now - idle)
    )
    if session.scalar(put_off) is not None:
        return False
    answered = session.scalar(queries.last_author(conversation.id)) is Author.AGENT
    if not is_idle(conversation.state, answered, conversation.last_message_at, now, idle):
        return False
    queries.close(session, conversation, now, Ending.SILENT)
    session.flush()  # before another is opened
    queries.handle_open_messages(session, conversation.id, now)
    live.changed(session, conversation, queries.replies_used(session, conversation.id), now)
    return True


def _message(session: Session, item: InboxItem, times: Times) -> None:
    """A customer's message. In standby somebody else answers it."""
    if item.kind == Kind.MESSAGE and _row_by_row(session, item, times):
        return
    conversation = _conversation(session, item, times)
    identity = conversation.identity
    if item.kind == Kind.STANDBY and _is_newest_route(identity, item.at):
        held_elsewhere(session, conversation, times.now)
    held = conversation.state is State.AGENT or item.kind == Kind.STANDBY
    message = _row(item, conversation, Author.CUSTOMER)
    message.pressed = item.payload.get("button")
    message.client_id = item.payload.get("client_id")
    message.handled_at = times.now if held else None  # a person reads it: there is no turn for the bot
    conversation.language = conversation.language or item.payload.get("language")
    identity.referral = item.payload.get("referral") or identity.referral
    identity.wrote_at = _later(identity.wrote_at, _written_at(item))
    greets = item.channel is not Channel.WEB and conversation.state is State.BOT and not held
    identity.noticed_at = identity.wrote_at if greets else identity.noticed_at
    conversation.last_message_at = times.now
    conversation.snoozed_until = None  # a new word wakes what was put off
    if not held:
        conversation.due_at = times.now + times.burst
    session.add(message)
    session.flush()  # all at once: a new customer, their conversation and the message
    if greets:
        is_nameless = identity.named_at is None and identity.contact.name is None
        _greet(session, item, identity.id, is_nameless, times.now)
    live.said(session, conversation, message)
    tagging.apply_rules(session, conversation.id, conversation.channel, message.text, None, times.now)
    if item.channel is not Channel.WEB:  # nothing changes a web chat's message afterwards
        settle_by_id(session, item.account, item.external_id, times.now)


def _row_by_row(session: Session, item: InboxItem, times: Times) -> bool:
    """Files a message as most messages are filed, without objects (`bot.store.rows`): it opens a
    conversation, or is part of the one that is open in the same place.

    False, with nothing written, where more is to be thought of.
    """
    known = session.execute(_WHO, {"account": item.account, "thread": item.thread}).first()
    talk = None
    if known and known.open_id:
        talk = session.execute(_TALK, {"conversation": known.open_id}).first()
        if talk is None or talk.state is State.CLOSED or talk.identity_id != known.id:
            return False
        if talk.due_at is None and times.now - talk.last_message_at >= times.idle:
            return False
    elif known is None and _vouched_for(item):
        return False  # perhaps a contact who has written before
    greets = item.channel is not Channel.WEB and (talk is None or talk.state is State.BOT)
    identity_id, contact_id = _writes(session, item, known, talk is None, greets, times.now)
    held = talk is not None and talk.state is State.AGENT
    due_at = None if held else times.now + times.burst
    language = (talk and talk.language) or item.payload.get("language")
    now_so = {"last_message_at": times.now, "due_at": due_at, "language": language}
    if talk:
        session.execute(_GOES_ON, {"row": talk.id, **now_so, "snoozed_until": None})
        conversation_id = talk.id
    else:
        whose = {"contact_id": contact_id, "identity_id": identity_id, "channel": item.channel}
        opened = {**whose, "state": State.BOT, "opened_at": times.now, **now_so}
        conversation_id = rows.add(session, Conversation, opened)
    message: dict[str, Any] = {
        **{"public_id": item.public_id, "conversation_id": conversation_id, "author": Author.CUSTOMER},
        **{"text": item.payload.get("text") or "", "attachments": item.payload.get("attachments") or []},
        **{"buttons": [], "pressed": item.payload.get("button"), "client_id": item.payload.get("client_id")},
        **{"account": item.account, "external_id": item.external_id, "at": item.at},
        "handled_at": times.now if held else None,  # a person reads it: there is no turn for the bot
    }
    rows.add(session, Message, message)
    if due_at:
        news.tell(session, News(Work.TURN, due_at))
    stream = live.stream_of(item.account, item.thread)
    live.tell(session, stream, conversation_id, live.Kind.MESSAGE, live.row_view(message), item.at)
    tagging.apply_rules(session, conversation_id, item.channel, message["text"], None, times.now)
    if item.channel is not Channel.WEB:  # nothing changes a web chat's message afterwards
        settle_by_id(session, item.account, item.external_id, times.now)
    return True


def _writes(
    session: Session, item: InboxItem, known: rows.Columns | None, opens: bool, greets: bool, now: datetime
) -> tuple[int, int]:
    """Notes that somebody writes, known or not; the ids of their identity and of their contact."""
    wrote_at, referral = _written_at(item), item.payload.get("referral")
    is_nameless = known is None or (known.name is None and (opens or known.named_at is None))
    if known:
        told = {
            "wrote_at": (wrote_at := _later(known.wrote_at, wrote_at)),
            "referral": referral or known.referral,
            "noticed_at": wrote_at if greets else known.noticed_at,
            "named_at": None if is_nameless else known.named_at,  # the channel may tell it by now
        }
        session.execute(_WRITES_AGAIN, {"row": known.id, **told})
        identity_id, contact_id = known.id, known.contact_id
    else:
        who = {"name": item.payload.get("name"), "email": None, "created_at": now}
        contact_id = rows.add(session, Contact, who)
        place = {"channel": item.channel, "account": item.account, "thread": item.thread, "created_at": now}
        marks = {"wrote_at": wrote_at, "noticed_at": wrote_at if greets else None}
        led_by = {"referral": referral} if referral else {}
        identity_id = rows.add(session, Identity, {"contact_id": contact_id, **place, **marks, **led_by})
    if greets:
        _greet(session, item, identity_id, is_nameless, now)
    return identity_id, contact_id


def _greet(session: Session, item: InboxItem, identity_id: int, is_nameless: bool, now: datetime) -> None:
    """Has it shown soon that a message was seen, and that an answer is being made: the bot reads it."""
    guest = Guest(identity_id, item.account, item.thread, now, is_nameless)
    news.tell(session, News(Work.GUEST, now + PATIENT, guest))


def _written_at(item: InboxItem) -> datetime:
    """When a reply window opened. A clock that is a day off, or ahead of ours, isn't believed."""
    believable = item.received_at - DAY <= item.at <= item.received_at
    return item.at if believable else item.received_at


def _echo(session: Session, item: InboxItem, times: Times) -> None:
    """Ours settles a send whose answer was lost; another's is a person answering elsewhere."""
    sent, part = _sent(session, item)
    if sent:
        _acknowledge(session, sent, part, item, times.now)
        return
    if item.payload.get("app") == "us":
        return
    conversation = _conversation(session, item, times)
    if _is_newest_route(conversation.identity, item.at):
        held_elsewhere(session, conversation, times.now)
    message = _row(item, conversation, Author.AGENT)
    message.sent_at = item.at
    message.handled_at = times.now
    session.add(message)
    session.flush()
    conversation.last_message_at = times.now
    live.said(session, conversation, message)
    settle_by_id(session, item.account, item.external_id, times.now)


def _sent(session: Session, item: InboxItem) -> tuple[Message | None, int]:
    """Our message that an echo is of, locked, and the number of its part (0: the whole or the last).

    Known by the id that travelled as metadata, or by the channel's own. An echo that carries neither
    and names no other app (Instagram's name none) is ours if just these words are on their way to this
    customer.
    """
    public_id, _, part = (item.payload.get("metadata") or "").partition("/")
    message_id = session.scalar(
        sa.select(Message.id).where(
            Message.account == item.account,
            sa.or_(
                Message.public_id == public_id,
                sa.and_(Message.external_id == item.external_id, Message.author != Author.CUSTOMER),
            ),
        )
    )
    if message_id is None:
        found = session.scalar(
            sa.select(Part).where(Part.account == item.account, Part.external_id == item.external_id)
        )
        if found:
            message_id, part = found.message_id, str(found.number)
    if message_id is None and item.payload.get("app") != "other":
        message_id, part = _on_its_way(session, item)
    if message_id is None:
        return None, 0
    return queries.locked_message(session, message_id), int(part) if part.isdigit() else 0


def _on_its_way(session: Session, item: InboxItem) -> tuple[int | None, str]:
    """The message, or its part, with just these words that was sent to this customer and not confirmed.

    One that Graph said it didn't send, and that waits for another try, may have been sent all the same.
    """
    tried = sa.and_(Message.status == Status.QUEUED, Message.attempts > 0)
    sending = (
        sa.select(Message)
        .join(Message.conversation)
        .join(Conversation.identity)
        .where(
            Message.account == item.account,
            Identity.thread == item.thread,
            sa.or_(Message.status.in_((Status.SENDING, Status.UNKNOWN)), tried),
        )
        .order_by(Message.id)
    )
    for message in session.scalars(sending):
        parts = split(message.text, item.channel)
        for number, part in enumerate(parts, start=1):
            if part == item.payload.get("text") and number > message.parts_sent:
                return message.id, str(number) if number < len(parts) else ""
    return None, ""


def _acknowledge(session: Session, message: Message, part: int, item: InboxItem, now: datetime) -> None:
    """The channel has this message, or this part of it; what is left of it goes on."""
    if part:
        queries.keep_part(session, message, part, item.external_id)
        if part <= message.parts_sent:
            return
        message.parts_sent = part
        if message.status is Status.UNKNOWN:
            queries.queue_again(message)
    elif message.external_id != item.external_id:
        message.external_id = item.external_id
        message.status, message.error = Status.SENT, None
        message.sent_at = message.sent_at or item.at
    live.touched(session, message.conversation, now)
    settle_by_id(session, item.account, item.external_id, now)


def _thread(session: Session, item: InboxItem, times: Times) -> None:
    """Another app gave the thread to us or let it go, or took it."""
    identity = _known(session, item)
    if identity is None or not _is_newest_route(identity, item.at):
        return
    conversation = queries.conversation_with(session, identity)  # locked before anything is changed
    identity.routed_at = item.at
    if conversation is None:
        return
    if item.payload.get("owner") == "other":
        held_elsewhere(session, conversation, times.now)
    elif conversation.state is State.AGENT and conversation.agent_id is None:
        conversation.state = State.BOT
        queries.end_hand_off(session, conversation.id, times.now)
        live.changed(session, conversation, queries.replies_used(session, conversation.id), times.now)


def _is_newest_route(identity: Identity, at: datetime) -> bool:
    """Whether nothing later is known of who answers the thread."""
    return identity.routed_at is None or at >= identity.routed_at


def held_elsewhere(session: Session, conversation: Conversation, now: datetime) -> None:
    """A person outside the desk answers: the bot is silent from here."""
    if conversation.state is State.AGENT:
        return
    conversation.state = State.AGENT
    conversation.due_at = None
    session.flush()  # a new conversation has its id from then on
    queries.take_back_queued(session, conversation.id)
    found = queries.open_hand_off(session, conversation.id)
    if found:
        found.taken_at = found.taken_at or now
    queries.handle_open_messages(session, conversation.id, now)
    live.changed(session, conversation, queries.replies_used(session, conversation.id), now)


def _change(session: Session, item: InboxItem, times: Times) -> None:
    """An edit, an unsending or a reaction: the message is changed, never written anew."""
    if item.about is None:
        return
    message = _about(session, item.account, item.about)
    if message is None:
        return  # it hasn't come yet: `settle_by_id` gets back to this
    by_customer = message.author is Author.CUSTOMER
    if item.kind == Kind.REACTION:
        if message.reacted_at and message.reacted_at > item.at:
            return
        message.reaction, message.reacted_at = item.payload.get("reaction"), item.at
    elif item.kind == Kind.UNSENT:
        if message.unsent_at:
            return
        message.text, message.attachments, message.unsent_at = "", [], item.at
        _forget(session, message, item.account, item.about)
        if by_customer:
            _reread(session, message, times, is_gone=True)
    elif by_customer and not message.unsent_at and (message.edited_at is None or message.edited_at < item.at):
        message.text, message.edited_at = item.payload["text"], item.at
        _reread(session, message, times)
    live.touched(session, message.conversation, times.now)


def _reread(session: Session, message: Message, times: Times, is_gone: bool = False) -> None:
    """A turn that isn't decided yet is decided on the new words: whoever has it loses the lease."""
    conversation = message.conversation
    if message.handled_at is not None:
        return
    if is_gone:
        message.handled_at = times.now
    if conversation.due_at is not None:
        conversation.lease_no += 1
        conversation.lease_until = None
        conversation.due_at = times.now + times.burst


def _forget(session: Session, message: Message, account: str, external_id: str) -> None:
    """What was taken back isn't kept anywhere else either: in the inbox, on its way to live pages, as the
    words that a hand-off came from."""
    kept = sa.select(InboxItem).where(
        InboxItem.account == account,
        sa.or_(InboxItem.external_id == external_id, InboxItem.about == external_id),
    )
    for item in session.scalars(kept):
        item.payload = {**item.payload, "text": "", "attachments": []}
    live.forget(session, message)
    quoting = sa.select(HandOff).where(
        HandOff.conversation_id == message.conversation_id, HandOff.message_id == message.id
    )
    for hand_off in session.scalars(quoting):
        hand_off.words = None


def _about(session: Session, account: str, external_id: str) -> Message | None:
    """The message with one of the channel's ids, locked."""
    here = sa.select(Message.id).where(Message.account == account, Message.external_id == external_id)
    part = sa.select(Part.message_id).where(Part.account == account, Part.external_id == external_id)
    message_id = session.scalar(here) or session.scalar(part)
    return None if message_id is None else queries.locked_message(session, message_id)


def _receipt(session: Session, item: InboxItem, times: Times) -> None:
    """What has arrived, or was read: a watermark for all that was sent before."""
    identity = _known(session, item)
    if identity is None:
        return
    until = item.payload.get("until")
    marks = [min(datetime.fromisoformat(until), times.now + DAY)] if until else []  # whose clock is it?
    mids = item.payload.get("mids") or []
    if mids:
        newest = sa.select(sa.func.max(Message.sent_at)).where(
            Message.account == item.account, Message.external_id.in_(mids)
        )
        marks += [mark for mark in (session.scalar(newest),) if mark]
    if not marks:
        return
    conversation = queries.conversation_with(session, identity)  # locked before anything is changed
    if item.kind == Kind.READ:
        identity.read_until = _later(identity.read_until, max(marks))
    identity.delivered_until = _later(identity.delivered_until, max(marks))
    if conversation:
        live.touched(session, conversation, times.now)


def _referral(session: Session, item: InboxItem, times: Times) -> None:
    """What led a customer into a chat that is there already; the next message may say why."""
    identity = _known(session, item) or _identity(session, item, times.now)
    queries.conversation_with(session, identity)  # locked before anything is changed
    identity.referral = item.payload.get("referral") or identity.referral


def _feedback(session: Session, item: InboxItem, times: Times) -> None:
    """A customer's answer to the question how it was."""
    identity = _known(session, item)
    if identity:
        ratings.from_template(session, identity, item.payload, times.now)


def _policy(session: Session, item: InboxItem, times: Times) -> None:
    """Meta has blocked the account, or lifted that."""
    if item.payload.get("blocked"):
        accounts.block(session, item.account, str(item.payload.get("reason") or ""), times.now)
    else:
        accounts.mend(session, item.account)


def _row(item: InboxItem, conversation: Conversation, author: Author) -> Message:
    return Message(
        public_id=item.public_id,
        conversation=conversation,
        author=author,
        text=item.payload.get("text") or "",
        attachments=item.payload.get("attachments") or [],
        account=item.account,
        external_id=item.external_id,
        at=item.at,
    )


def _conversation(session: Session, item: InboxItem, times: Times) -> Conversation:
    """The open conversation of whoever wrote, or a new one with two fresh replies."""
    identity = _known(session, item) or _identity(session, item, times.now)
    found = queries.open_conversation(session, identity)
    if found and close_if_idle(session, found, times.now, times.idle):
        found = None
    if found and found.identity_id != identity.id:
        found = _elsewhere(session, found, identity, item, times.now)
    if found is None:
        if identity.contact.name is None and identity.named_at:
            identity.named_at = None  # the channel may tell it by now
        found = Conversation(
            contact=identity.contact,
            identity=identity,
            channel=identity.channel,
            state=State.BOT,
            opened_at=times.now,
            last_message_at=times.now,
        )
        session.add(found)
    return found


def _elsewhere(
    session: Session, talk: Conversation, identity: Identity, item: InboxItem, now: datetime
) -> Conversation | None:
    """A contact writes from another place than its open conversation is in: the answer goes to where the
    question came from, and nobody reads there what was said elsewhere.

    Only with a customer whom the shop vouched for in both places the conversation moves along (another
    tab, another device). An agent who merged two contacts may be wrong: who writes then is a contact of
    their own again.
    """
    email = _vouched_for(item)
    if email and email == _vouched_for(_last_item(session, talk)):
        talk.identity = identity
        return talk
    identity.contact = Contact(name=item.payload.get("name"), email=email, created_at=now)
    session.flush()
    return None


def _last_item(session: Session, talk: Conversation) -> InboxItem | None:
    """What the customer wrote last, as it came in; an open conversation never outlives it."""
    return session.scalar(
        sa.select(InboxItem)
        .join(Message, Message.public_id == InboxItem.public_id)
        .where(Message.conversation_id == talk.id, Message.author == Author.CUSTOMER)
        .order_by(Message.id.desc())
        .limit(1)
    )


def _vouched_for(item: InboxItem | None) -> str | None:
    """The e-mail that the shop signed for the session that a message came from."""
    return item.payload.get("email") if item and item.channel is Channel.WEB else None


def _known(session: Session, item: InboxItem) -> Identity | None:
    return queries.find_identity(session, item.account, item.thread)


def _identity(session: Session, item: InboxItem, now: datetime) -> Identity:
    """A new identity; a customer whom the shop has logged in keeps the contact of their e-mail."""
    email = _vouched_for(item)
    contact = session.scalar(sa.select(Contact).where(Contact.email == email).limit(1)) if email else None
    if contact is None:
        contact = Contact(name=item.payload.get("name"), email=email, created_at=now)
    identity = Identity(
        contact=contact, channel=item.channel, account=item.account, thread=item.thread, created_at=now
    )
    session.add(identity)
    return identity


def _later(one: datetime | None, other: datetime) -> datetime:
    return max(one, other) if one else other


def _early(*what: Any) -> sa.Select[Any]:
    """What came in about a message before it had its external id."""
    return sa.select(*what).where(
        InboxItem.account == sa.bindparam("account"),
        InboxItem.about == sa.bindparam("about"),
        InboxItem.filed_at.is_not(None),
    )


# Made once: to make a statement costs more than a database takes to answer it.
_HAS_EARLY, _EARLY = _early(InboxItem.id).limit(1), _early(InboxItem).order_by(InboxItem.at, InboxItem.id)
_CONVERSATION, _IDENTITY, _CONTACT = map(rows.table, (Conversation, Identity, Contact))
_WHO = (
    sa.select(
        *(_IDENTITY.c[name] for name in ("id", "contact_id", "referral")),
        *(_IDENTITY.c[name] for name in ("wrote_at", "noticed_at", "named_at")),
        _CONTACT.c.name,
        sa.select(_CONVERSATION.c.id)
        .where(
            _CONVERSATION.c.contact_id == _IDENTITY.c.contact_id,
            _CONVERSATION.c.channel == _IDENTITY.c.channel,
            _CONVERSATION.c.state != State.CLOSED,
        )
        .scalar_subquery()
        .label("open_id"),
    )
    .join(_CONTACT, _CONTACT.c.id == _IDENTITY.c.contact_id)
    .where(_IDENTITY.c.account == sa.bindparam("account"), _IDENTITY.c.thread == sa.bindparam("thread"))
)
_TALK = (
    sa.select(
        *(_CONVERSATION.c[name] for name in ("id", "identity_id", "state", "last_message_at")),
        *(_CONVERSATION.c[name] for name in ("due_at", "language")),
    )
    .where(_CONVERSATION.c.id == sa.bindparam("conversation"))
    .with_for_update(key_share=True)
)
_GOES_ON = rows.update(Conversation, "last_message_at", "due_at", "language", "snoozed_until")
_WRITES_AGAIN = rows.update(Identity, "wrote_at", "noticed_at", "named_at", "referral")
_STEPS: dict[Kind, Callable[[Session, InboxItem, Times], None]] = {
    Kind.MESSAGE: _message,
    Kind.STANDBY: _message,
    Kind.ECHO: _echo,
    Kind.THREAD: _thread,
    **dict.fromkeys(CHANGES, _change),
    Kind.DELIVERED: _receipt,
    Kind.READ: _receipt,
    Kind.REFERRAL: _referral,
    Kind.FEEDBACK: _feedback,
    Kind.POLICY: _policy,
}
