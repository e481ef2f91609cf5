"""Who else has a conversation open, and who writes: so that two agents don't do the same work."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bot import live
from bot.store.desk_tables import Looking
from bot.store.tables import Agent, Conversation

BEAT = timedelta(seconds=20)  # how often an open page says that it is still there
GONE = 3 * BEAT  # a page that hasn't for so long was closed or lost its network
TYPING = timedelta(seconds=8)  # how long after the last key somebody still writes


@dataclass(frozen=True)
class Other:
    """A colleague who looks at the same conversation."""

    name: str
    types: bool


def look(session: Session, agent: Agent, conversation_id: int | None, types: bool, now: datetime) -> None:
    """An agent's page says what it shows (None: no conversation), and whether the agent writes there.

    Colleagues' pages are told only of what changes. An unknown conversation counts as none.
    """
    found = session.get(Looking, agent.id)
    before = found.conversation_id if found and now - found.at < GONE else None
    wrote = found is not None and _types(found, now)
    conversation = session.get(Conversation, conversation_id) if conversation_id else None
    if conversation is None:
        if found:
            session.delete(found)
    elif found is None:
        found = Looking(agent_id=agent.id, conversation_id=conversation.id, at=now)
        session.add(found)
    if found and conversation:
        found.conversation_id, found.at = conversation.id, now
        found.typing_at = now if types else None
    here = conversation.id if conversation else None
    if before != here:
        _tell(session, before, now)
    if before != here or wrote != types:
        _tell(session, here, now)


def others(session: Session, conversation_id: int, agent: Agent, now: datetime) -> list[Other]:
    """The colleagues who look at a conversation now."""
    query = sa.select(Looking).where(
        Looking.conversation_id == conversation_id, Looking.agent_id != agent.id, Looking.at > now - GONE
    )
    return [
        Other(one.agent.name, _types(one, now)) for one in session.scalars(query.order_by(Looking.agent_id))
    ]


def _types(one: Looking, now: datetime) -> bool:
    return one.typing_at is not None and now - one.typing_at < TYPING


def _tell(session: Session, conversation_id: int | None, now: datetime) -> None:
    conversation = session.get(Conversation, conversation_id) if conversation_id else None
    if conversation:
        live.touched(session, conversation, now)
