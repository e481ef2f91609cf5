"""What the desk's own pages show of presence, promises, tags and priority."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm import Session

from bot.desk import api, care, presence, promises, rules, teams
from bot.desk.wording import words
from bot.services import Services
from bot.store.care import PRIORITIES, RatingRequest


def bar(session: Session, services: Services, caller: api.Caller) -> dict[str, Any]:
    """What the desk's top shows: the agent's presence and, to supervisors, what is close to late."""
    here = presence.of(session, caller.agent.id)
    is_supervisor = caller.agent.role == "supervisor"
    return {
        "words": words(caller.language),
        "available": bool(here and here.available),
        "routing": services.care.routing != "off",
        "supervisor": is_supervisor,
        "risk": promises.risk(session, services.clock()) if is_supervisor else None,
    }


def at(session: Session, services: Services, caller: api.Caller, ids: Sequence[int]) -> dict[str, Any]:
    """What rows and the open conversation show, by the conversation's id, and what can be chosen."""
    asked = {one for one in ids if session.get(RatingRequest, one)} if len(ids) == 1 else set()
    return {
        "words": words(caller.language),
        "of": care.of(session, ids, services.clock()),
        "asked": asked,
        "tags": rules.tags(session) if len(ids) == 1 else [],
        "teams": teams.listed(session) if len(ids) == 1 else [],
        "priorities": sorted(PRIORITIES, reverse=True),
    }
