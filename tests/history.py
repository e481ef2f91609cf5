"""A shop's past, written straight into the tables: as many conversations as wanted, the same each time."""

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bot.domain.words import Author, Channel, Ending, Reason, State, Status
from bot.store.care import ConversationTag, Promise, Rating, Tag
from bot.store.engine import Store
from bot.store.tables import Agent, Contact, Conversation, HandOff, Identity, Message

BATCH = 2_000
TEXTS = ("Where is my order?", "배송비가 얼마인가요?", "返品できますか？", "It arrived broken.", "Thanks!")


def write(store: Store, count: int, start: datetime, days: int, seed: int = 7) -> None:
    """`count` conversations opened over `days` from `start`, with all that may happen in one."""
    chance = random.Random(seed)
    with store.unit_of_work() as session:
        for number, name in enumerate(("Anna", "Ben", "=HYPERLINK(1)"), start=1):
            session.add(
                Agent(
                    email=f"past-{number}@shop.example",
                    name=name,
                    role="agent",
                    password_hash="-",
                    created_at=start,
                )
            )
        session.add_all(
            Tag(name=name, key=name.casefold(), created_at=start) for name in ("Shipping", "환불", "+1")
        )
        session.flush()
        agents = list(
            session.scalars(sa.select(Agent.id).where(Agent.email.like("past-%")).order_by(Agent.id))
        )
        tags = list(session.scalars(sa.select(Tag.id).order_by(Tag.id)))
    for first in range(0, count, BATCH):
        with store.unit_of_work() as session:
            rows: dict[type, list[dict[str, Any]]] = {
                kind: []
                for kind in (
                    Contact,
                    Identity,
                    Conversation,
                    Message,
                    HandOff,
                    Promise,
                    Rating,
                    ConversationTag,
                )
            }
            for number in range(first + 1, min(first + BATCH, count) + 1):
                for kind, row in _conversation(chance, number, start, days, agents, tags):
                    rows[kind].append(row)
            for kind, found in rows.items():
                if found:
                    session.execute(sa.insert(kind), found)
    with store.unit_of_work() as session:
        _move_on(session)


def _move_on(session: Session) -> None:
    """PostgreSQL's own counters go on behind the ids that were written here."""
    if session.get_bind().dialect.name == "postgresql":
        for table in ("contact", "identity", "conversation", "message", "hand_off"):
            session.execute(
                sa.text(
                    f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) FROM {table}))"
                )
            )


def _conversation(
    chance: random.Random, number: int, start: datetime, days: int, agents: list[int], tags: list[int]
) -> Iterator[tuple[type, dict[str, Any]]]:
    opened = start + timedelta(seconds=chance.randrange(days * 86_400), microseconds=chance.randrange(10**6))
    channel = chance.choice(list(Channel))
    contact = number if chance.random() < 0.7 or number < 5 else chance.randrange(1, number)
    if contact == number:
        yield Contact, {"id": number, "created_at": opened, "name": None, "email": None}
    else:
        yield Contact, {"id": number, "created_at": opened, "name": "unused", "email": None}
    yield (
        Identity,
        {
            "id": number,
            "contact_id": contact,
            "channel": channel,
            "account": "x",
            "thread": f"t{number}",
            "created_at": opened,
        },
    )
    at = opened
    messages: list[tuple[datetime, Author, int | None, int | None]] = [(at, Author.CUSTOMER, None, None)]
    used = chance.choice((0, 1, 1, 1, 2, 2))
    for reply in range(1, used + 1):
        at += timedelta(seconds=chance.uniform(1, 90))
        messages.append((at, Author.BOT, reply, None))
    ending: Ending | None = chance.choice([Ending.SETTLED, Ending.SILENT, Ending.MOVED_ON, None])
    state, holder = State.CLOSED, None
    hand_offs: list[dict[str, Any]] = []
    for _ in range(chance.choice((0, 0, 0, 1, 1, 2))):
        handed = at + timedelta(seconds=chance.uniform(0, 5))
        taken = handed + timedelta(seconds=chance.uniform(10, 90_000)) if chance.random() < 0.8 else None
        at = taken or handed
        if taken and chance.random() < 0.9:
            for _ in range(chance.randrange(1, 4)):
                at += timedelta(seconds=chance.uniform(5, 4_000))
                messages.append((at, Author.AGENT, None, chance.choice([*agents, None])))
        at += timedelta(seconds=chance.uniform(1, 9_000))
        hand_offs.append(
            {"reason": chance.choice(list(Reason)), "at": handed, "taken_at": taken, "ended_at": at}
        )
    closed: datetime | None = at + timedelta(seconds=chance.uniform(1, 90_000))
    if hand_offs and chance.random() < 0.7:
        ending, closed = Ending.RESOLVED, hand_offs[-1]["ended_at"]
    elif hand_offs and chance.random() < 0.5:
        closed = hand_offs[-1]["ended_at"]
    if chance.random() < 0.15 and contact == number and number % 11 == 0:
        closed, ending = None, None
        state = State.BOT
        if hand_offs:
            hand_offs[-1]["ended_at"] = None
            state = State.AGENT if hand_offs[-1]["taken_at"] else State.WAITING
            holder = chance.choice(agents) if state is State.AGENT else None
    yield (
        Conversation,
        {
            "id": number, "contact_id": contact, "identity_id": number, "channel": channel, "state": state,
            "agent_id": holder, "opened_at": opened, "last_message_at": at, "closed_at": closed, "ending": ending,
            "misses": 0, "lease_no": 0, "tries": 0,
        },
    )  # fmt: skip
    for place, (when, author, reply, agent) in enumerate(messages):
        yield (
            Message,
            {
                "public_id": f"{number:x}-{place}", "conversation_id": number, "author": author, "text": chance.choice(TEXTS),
                "attachments": [], "buttons": [], "reply_no": reply, "agent_id": agent, "account": "x", "at": when,
                "handled_at": when, "status": Status.SENT, "attempts": 0,
            },
        )  # fmt: skip
    for place, hand_off in enumerate(hand_offs):
        id_ = number * 4 + place
        yield HandOff, {"id": id_, "conversation_id": number, **hand_off}
        if chance.random() < 0.9:
            due = [hand_off["at"] + timedelta(hours=hours) for hours in (1, 24, 0.75)]
            yield (
                Promise,
                {
                    "hand_off_id": id_,
                    "first_due_at": due[0],
                    "solve_due_at": due[1],
                    "raise_at": due[2],
                    "escalated_at": None,
                },
            )
    if closed and chance.random() < 0.3:
        yield (
            Rating,
            {
                "conversation_id": number,
                "score": chance.randrange(1, 6),
                "comment": "",
                "at": closed,
                "changed_at": closed,
            },
        )
    for tag in tags:
        if chance.random() < 0.2:
            removed = opened if chance.random() < 0.2 else None
            yield (
                ConversationTag,
                {
                    "conversation_id": number,
                    "tag_id": tag,
                    "at": opened,
                    "agent_id": None,
                    "removed_at": removed,
                },
            )
