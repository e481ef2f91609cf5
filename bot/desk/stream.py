"""The one stream of all conversations: views, filters, search, and pages by key.

A page is found in two steps: first the ids, along an index and no further than the page is long; then
what a row shows of each. Nothing here counts further than `MANY`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bot.desk.rows import PEOPLE, Row, last_of, rows_of
from bot.domain.errors import BadInput
from bot.domain.words import Author, Channel, Reason, State
from bot.orders import normal_number
from bot.store.desk_tables import Mention, Seen
from bot.store.search import matching
from bot.store.tables import Agent, Contact, Conversation, HandOff, Message, Order

PAGE = 50  # conversations shown at first, and by each "more"
LONGEST = 500  # conversations that one page shows at most
MANY = 100  # a count that reaches this is told as "99+"
NEWEST = 2**31 - 1  # later than any message's id
CHUNK, CHUNKS = 300, 20  # messages that a search looks at, at a time and in all
OUT_OF_DATE = "This list is out of date; reload it."
OPEN = (State.BOT, State.WAITING, State.AGENT)


class View(StrEnum):
    """What the stream shows of all conversations."""

    MINE = "mine"
    WAITING = "waiting"
    ALL = "all"
    BOT = "bot"
    CLOSED = "closed"
    SNOOZED = "snoozed"  # mine, out of sight for now
    MENTIONS = "mentions"  # where a note names me


@dataclass(frozen=True)
class Filters:
    """What narrows a view. `agent` is who holds it, or held it last."""

    channel: Channel | None = None
    reason: Reason | None = None
    language: str | None = None
    agent: int | None = None
    states: tuple[State, ...] = ()  # none: all
    text: str = ""  # searched for in messages, contacts and order numbers

    def __bool__(self) -> bool:
        return self != Filters()


@dataclass(frozen=True)
class Listed:
    """A page of the stream. `more` is the key at which the next one begins; None: that was all."""

    rows: list[Row]
    more: str | None = None


def listed(
    session: Session,
    agent: Agent,
    view: View,
    now: datetime,
    filters: Filters | None = None,
    before: str | None = None,
    limit: int = PAGE,
) -> Listed:
    """A view's conversations. Waiting: who waits longest first. Mine: who wrote last and waits for an
    answer first. All others: newest first, after the key `before`.

    Raises BadInput for a key that isn't one of ours.
    """
    filters, limit = filters or Filters(), min(limit, LONGEST)
    if filters.text.strip():
        return _found(session, agent, view, now, filters, before, limit)
    query, key = _along(agent, view, now)
    query = query.where(*_narrowed(filters)).limit(limit + 1)
    if before:
        query = query.where(_after(key, before, descending=view not in (View.WAITING, View.MINE)))
    found = session.execute(query).all()
    more = _key(found[limit - 1]) if len(found) > limit else None
    return Listed(rows_of(session, agent, [row[0] for row in found[:limit]]), more)


# Time and id; before them, of mine, whether we spoke last.
Key = tuple[sa.ColumnElement[Any], ...]


def _along(agent: Agent, view: View, now: datetime) -> tuple[Any, Key]:
    """The ids and times of a view in its order, and what that order is by."""
    newest: Key = (Conversation.last_message_at.expression, Conversation.id.expression)
    query = sa.select(Conversation.id, Conversation.last_message_at)
    if view is View.WAITING:
        oldest: Key = (HandOff.at.expression, HandOff.conversation_id.expression)
        query = (
            sa.select(Conversation.id, HandOff.at)
            .join(HandOff, HandOff.conversation_id == Conversation.id)
            .where(HandOff.ended_at.is_(None), Conversation.state == State.WAITING)
        )
        return query.order_by(*oldest), oldest
    query = query.where(*_of_view(agent, view, now))
    if view is View.MINE:
        theirs = last_of(Message.author, Message.author.in_(PEOPLE)) == Author.CUSTOMER
        ours: sa.ColumnElement[int] = sa.case((theirs, 0), else_=1)
        asks_first: Key = (ours, *newest)
        return query.add_columns(ours).order_by(*asks_first), asks_first
    return query.order_by(*(column.desc() for column in newest)), newest


def _of_view(agent: Agent, view: View, now: datetime) -> list[sa.ColumnElement[bool]]:
    """What a view's conversations have in common."""
    mine = [Conversation.agent_id == agent.id]
    asleep = sa.and_(Conversation.snoozed_until.is_not(None), Conversation.snoozed_until > now)
    match view:
        case View.MINE:
            return [*mine, sa.not_(asleep)]
        case View.SNOOZED:
            return [*mine, asleep]
        case View.MENTIONS:
            named = sa.select(Message.conversation_id).join(Mention, Mention.message_id == Message.id)
            return [Conversation.id.in_(named.where(Mention.agent_id == agent.id))]
        case View.ALL:
            return []
    return [Conversation.state == State(view.value)]


def _narrowed(filters: Filters) -> list[sa.ColumnElement[bool]]:
    wanted: list[sa.ColumnElement[bool]] = []
    if filters.channel:
        wanted.append(Conversation.channel == filters.channel)
    if filters.language:
        wanted.append(Conversation.language == filters.language)
    if filters.agent:
        wanted.append(Conversation.handler_id == filters.agent)
    if filters.states:
        wanted.append(Conversation.state.in_(filters.states))
    if filters.reason:
        came = sa.orm.aliased(HandOff)
        of_reason = sa.and_(came.conversation_id == Conversation.id, came.reason == filters.reason)
        wanted.append(sa.exists().where(of_reason))
    return wanted


def _after(key: Key, before: str, descending: bool) -> sa.ColumnElement[bool]:
    """What comes after a key in the list's order."""
    first = before[:2] if len(key) > 2 else ""
    if first not in ("", "0_", "1_"):
        raise BadInput(OUT_OF_DATE)
    at, row_id = _read_key(before.removeprefix(first))
    given = sa.tuple_(
        *((sa.literal(int(first[0])),) if first else ()), sa.literal(at, key[-2].type), sa.literal(row_id)
    )
    return sa.tuple_(*key) < given if descending else sa.tuple_(*key) > given


def _key(row: Sequence[Any]) -> str:
    key = f"{row[1].isoformat()}_{row[0]}"
    return f"{row[2]}_{key}" if len(row) > 2 else key


def _read_key(key: str) -> tuple[datetime, int]:
    at, _, row_id = key.rpartition("_")
    try:
        moment, number = datetime.fromisoformat(at), int(row_id)
        if moment.tzinfo is None or not 0 <= number < 2**31:
            raise ValueError
    except ValueError:
        raise BadInput(OUT_OF_DATE) from None
    return moment, number


def _found(
    session: Session,
    agent: Agent,
    view: View,
    now: datetime,
    filters: Filters,
    before: str | None,
    limit: int,
) -> Listed:
    """Conversations of contacts by that name, e-mail or order first, then of messages, newest first.

    The key of a search is the last message looked at. A page may be short, or empty, and not the last: one
    looks at so many messages only.
    """
    allowed = [*_of_view(agent, view, now), *_narrowed(replace(filters, text=""))]
    if before is not None and not (before.isascii() and before.isdigit() and len(before) < 11):
        raise BadInput(OUT_OF_DATE)
    ids: dict[int, int | None] = {}  # conversation → the message that was found in it
    people = _of_people(session, filters.text, allowed, limit)
    if before is None:
        ids |= dict.fromkeys(people)
    last = int(before) if before else NEWEST
    for message_id, conversation_id in _hits(session, filters.text, allowed, last):
        if len(ids) >= limit:
            break
        if conversation_id is None:
            last = message_id
            break
        if conversation_id in people or (
            before and _was_shown(session, filters.text, conversation_id, before)
        ):
            continue
        ids.setdefault(conversation_id, message_id)
        last = message_id
    else:
        last = 0
    rows = rows_of(session, agent, list(ids))
    texts: dict[int, str] = dict(
        session.execute(
            sa.select(Message.id, Message.text).where(Message.id.in_([one for one in ids.values() if one]))
        ).all()
    )
    found = [replace(row, snippet=snippet(texts.get(ids[row.id] or 0, ""), filters.text)) for row in rows]
    return Listed(found, str(last) if last else None)


def _of_people(
    session: Session, text: str, allowed: list[sa.ColumnElement[bool]], limit: int
) -> Sequence[int]:
    """Conversations of the contacts, identities and orders that are searched for."""
    by_name = matching(session, "contact", text)
    wanted = []
    if by_name is not None:
        wanted.append(Conversation.contact_id.in_(by_name.limit(limit)))
    number = normal_number(text)
    if number:
        email = sa.select(Order.email).where(Order.number == number)
        of_owner = sa.select(Contact.id).where(Contact.email.in_(email))
        wanted.append(Conversation.contact_id.in_(of_owner))
    if not wanted:
        return []
    query = sa.select(Conversation.id).where(sa.or_(*wanted), *allowed)
    return session.scalars(query.order_by(Conversation.id.desc()).limit(limit)).all()


def _hits(
    session: Session, text: str, allowed: list[sa.ColumnElement[bool]], before: int
) -> Iterator[tuple[int, int | None]]:
    """Messages that hold the text, newest first, with their conversations.

    Where it stops before the end, the last one looked at comes once more, without a conversation.
    """
    wanted = matching(session, "message", text)
    if wanted is None:
        return
    column = wanted.selected_columns[0]
    for _ in range(CHUNKS):
        ids = list(session.scalars(wanted.where(column < before).order_by(column.desc()).limit(CHUNK)))
        query = (
            sa.select(Message.id, Message.conversation_id)
            .join(Conversation, Conversation.id == Message.conversation_id)
            .where(Message.id.in_(ids), *allowed)
            .order_by(Message.id.desc())
        )
        for row in session.execute(query) if ids else ():
            yield row[0], row[1]
        if len(ids) < CHUNK:
            return
        before = ids[-1]
    yield before, None


def _was_shown(session: Session, text: str, conversation_id: int, before: str) -> bool:
    """Whether an earlier page of a search has shown a conversation, for a newer message of it."""
    newer = sa.select(Message.id).where(Message.conversation_id == conversation_id, Message.id >= int(before))
    ids = session.scalars(newer).all()
    wanted = matching(session, "message", text)
    if not ids or wanted is None:
        return False
    return session.execute(wanted.where(wanted.selected_columns[0].in_(ids)).limit(1)).first() is not None


def snippet(text: str, wanted: str, around: int = 60) -> str:
    """The part of a text in which the first of the wanted words stands."""
    at = min((found for word in wanted.split() if (found := text.lower().find(word.lower())) >= 0), default=0)
    start = max(0, at - around // 2)
    return ("…" if start else "") + text[start : start + 2 * around]


def counts(session: Session, agent: Agent, now: datetime, filters: Filters | None = None) -> dict[View, int]:
    """How many conversations a view holds, up to `MANY`; of all and closed ones nobody asks.

    What is searched for isn't counted: none but mentions are told then.
    """
    found, narrowed = {}, filters or Filters()
    for view in (View.MINE, View.WAITING, View.BOT, View.SNOOZED) if not narrowed.text else ():
        some = sa.select(Conversation.id).where(*_of_view(agent, view, now), *_narrowed(narrowed))
        some = some.limit(MANY)
        found[view] = session.scalar(sa.select(sa.func.count()).select_from(some.subquery())) or 0
    unseen = sa.select(Mention.message_id).where(Mention.agent_id == agent.id, Mention.seen_at.is_(None))
    found[View.MENTIONS] = (
        session.scalar(sa.select(sa.func.count()).select_from(unseen.limit(MANY).subquery())) or 0
    )
    return found


def mark_seen(session: Session, agent: Agent, conversation_id: int, now: datetime) -> bool:
    """The agent has read a conversation up to its newest message; says whether that is news."""
    newest = session.scalar(
        sa.select(sa.func.max(Message.id)).where(Message.conversation_id == conversation_id)
    )
    found = session.get(Seen, (agent.id, conversation_id))
    unseen = session.scalars(
        sa.select(Mention)
        .join(Message, Message.id == Mention.message_id)
        .where(
            Mention.agent_id == agent.id,
            Mention.seen_at.is_(None),
            Message.conversation_id == conversation_id,
        )
    ).all()
    if newest is None or (found and found.message_id >= newest and not unseen):
        return False
    for mention in unseen:
        mention.seen_at = now
    if found:
        found.message_id = max(found.message_id, newest)
    else:
        session.add(Seen(agent_id=agent.id, conversation_id=conversation_id, message_id=newest))
    return True


def colleagues(session: Session, agent: Agent) -> list[Any]:
    """Ids and names of whom a conversation can be handed to."""
    others = sa.select(Agent.id, Agent.name).where(Agent.id != agent.id, Agent.deactivated_at.is_(None))
    return list(session.execute(others.order_by(Agent.name)).all())


def choices(session: Session) -> dict[str, list[Any]]:
    """What there is to filter by: agents by name, and languages that the bot tells apart."""
    people = session.execute(sa.select(Agent.id, Agent.name).order_by(Agent.name)).all()
    return {"agents": list(people), "languages": ["en", "ko", "ja", "other"]}
