"""Saved replies: texts for everybody at the desk, in several languages, with variables to fill in."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bot.desk import audit
from bot.desk.words import LANGUAGES
from bot.domain.errors import BadInput, Conflict, NotAllowed, NotFound
from bot.store.desk_tables import SavedReply
from bot.store.tables import Agent

VARIABLES = ("name", "order", "items", "status", "carrier", "tracking", "eta", "agent", "shop")
NAME_LIMIT, TEXT_LIMIT = 120, 4_000  # characters
_VARIABLE = re.compile(r"\{(\w+)\}")


def listed(session: Session) -> Sequence[SavedReply]:
    """All of them, by name."""
    return session.scalars(
        sa.select(SavedReply).order_by(sa.func.lower(SavedReply.name), SavedReply.id)
    ).all()


def create(session: Session, agent: Agent, name: str, texts: Mapping[str, str], now: datetime) -> SavedReply:
    """A new one. Raises BadInput."""
    reply = SavedReply(agent=agent, updated_at=now, version=1)
    reply.name, reply.texts = _checked(name, texts)
    session.add(reply)
    audit.note(session, agent, "reply_add", reply.name, now, after=_kept(reply))
    return reply


def change(
    session: Session,
    reply_id: int,
    agent: Agent,
    name: str,
    texts: Mapping[str, str],
    version: int,
    now: datetime,
) -> SavedReply:
    """Changes one; `version` is the one that the agent has seen.

    Raises NotFound, NotAllowed, BadInput, or Conflict if a colleague has changed it since.
    """
    reply = _mine(session, reply_id, agent)
    if reply.version != version:
        raise Conflict("A colleague has changed it meanwhile. Look at it and save again.")
    before = _kept(reply)
    reply.name, reply.texts = _checked(name, texts)
    reply.version, reply.updated_at = version + 1, now
    audit.note(session, agent, "reply_change", reply.name, now, before, _kept(reply))
    return reply


def delete(session: Session, reply_id: int, agent: Agent, now: datetime) -> None:
    """Deletes one. Raises NotFound or NotAllowed."""
    reply = _mine(session, reply_id, agent)
    session.delete(reply)
    audit.note(session, agent, "reply_delete", reply.name, now, before=_kept(reply))


def may_change(reply: SavedReply, agent: Agent) -> bool:
    """Its author, and supervisors."""
    return reply.agent_id == agent.id or agent.role == "supervisor"


def text_in(reply: SavedReply, language: str | None) -> tuple[str, str]:
    """Its text in a language, else in English, else in whatever there is; and which that is."""
    texts: dict[str, str] = reply.texts
    code = next(code for code in (language or "en", "en", *texts) if code in texts)
    return texts[code], code


def filled(text: str, values: Mapping[str, str | None]) -> str:
    """A text with its variables filled in. What isn't known stays in braces, for the agent to see."""
    return _VARIABLE.sub(lambda found: values.get(found[1]) or found[0], text)


def unfilled(text: str) -> list[str]:
    """The variables that are still in a text."""
    return [name for name in _VARIABLE.findall(text) if name in VARIABLES]


def _kept(reply: SavedReply) -> dict[str, Any]:
    """As the audit trail has it."""
    return {"name": reply.name, **reply.texts}


def _mine(session: Session, reply_id: int, agent: Agent) -> SavedReply:
    reply = session.get(SavedReply, reply_id, with_for_update={"of": SavedReply})
    if reply is None:
        raise NotFound("There is no such saved reply.")
    if not may_change(reply, agent):
        raise NotAllowed("This saved reply isn't yours; ask its author or a supervisor.")
    return reply


def _checked(name: str, texts: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    name = name.replace("\0", "").strip()
    if not 0 < len(name) <= NAME_LIMIT:
        raise BadInput("Say in 1 to 120 characters what it is for.")
    kept = {code: texts.get(code, "").replace("\0", "").strip() for code in LANGUAGES}
    kept = {code: text for code, text in kept.items() if text}
    if not kept:
        raise BadInput("Write the text in at least one language.")
    for text in kept.values():
        if len(text) > TEXT_LIMIT:
            raise BadInput("A saved reply has at most {limit} characters.", limit=str(TEXT_LIMIT))
        for variable in _VARIABLE.findall(text):
            if variable not in VARIABLES:
                raise BadInput("There is no variable {name}.", name=f"{{{variable}}}")
    return name, kept
