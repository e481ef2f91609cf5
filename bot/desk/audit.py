"""Who did what when. Written in the transaction that does it; triggers keep it as it was written."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bot.store.care import AuditEntry
from bot.store.tables import Agent

PAGE = 100  # entries on one page


def note(
    session: Session,
    agent: Agent | None,
    what: str,
    subject: str,
    now: datetime,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    """Records what an agent did (None: the product by itself); never a password, never a customer's text.

    `what` is a word that the desk's pages know; of `before` and `after` only what differs is kept.
    """
    if before is not None and after is not None:
        same = {key for key in before if key in after and before[key] == after[key]}
        before = {key: value for key, value in before.items() if key not in same}
        after = {key: value for key, value in after.items() if key not in same}
    session.add(
        AuditEntry(
            at=now,
            agent_id=agent.id if agent else None,
            agent=agent.name if agent else "",
            what=what,
            subject=subject[:200],
            before=before,
            after=after,
        )
    )


def listed(
    session: Session, before_id: int | None = None, agent_id: int | None = None, what: str = ""
) -> list[AuditEntry]:
    """Entries, newest first, before an id; of one agent, or of one kind (`rule` finds `rule_add`)."""
    query = sa.select(AuditEntry).order_by(AuditEntry.id.desc()).limit(PAGE)
    if before_id is not None:
        query = query.where(AuditEntry.id < before_id)
    if agent_id is not None:
        query = query.where(AuditEntry.agent_id == agent_id)
    if what:
        query = query.where(AuditEntry.what.startswith(what, autoescape=True))
    return list(session.scalars(query))
