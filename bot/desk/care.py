"""What an agent sees and does of tags, priority, team and promise at a conversation."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bot import live, ratings, tagging
from bot.desk import audit, promises
from bot.desk.promises import Due, Line
from bot.domain.errors import BadInput, NotFound
from bot.store import queries
from bot.store.care import PRIORITIES, ConversationTag, Handling, Rating, Tag, Team
from bot.store.tables import Agent, Conversation


@dataclass
class Care:
    """What is known of one conversation beside its messages."""

    priority: int = tagging.NORMAL
    team: str | None = None
    team_id: int | None = None
    tags: list[Tag] = field(default_factory=list)
    due: Due | None = None
    rating: Rating | None = None


def of(session: Session, conversation_ids: Sequence[int], now: datetime) -> dict[int, Care]:
    """For each of some conversations; a handful of queries however many there are."""
    found = {one: Care() for one in conversation_ids}
    handled = sa.select(Handling, Team.name).outerjoin(Team, Team.id == Handling.team_id)
    for how, team in session.execute(handled.where(Handling.conversation_id.in_(conversation_ids))):
        one = found[how.conversation_id]
        one.priority, one.team, one.team_id = how.priority, team, how.team_id
    tagged = (
        sa.select(ConversationTag.conversation_id, Tag)
        .join(Tag, Tag.id == ConversationTag.tag_id)
        .where(ConversationTag.conversation_id.in_(conversation_ids), ConversationTag.removed_at.is_(None))
        .order_by(Tag.key)
    )
    for conversation_id, tag in session.execute(tagged):
        found[conversation_id].tags.append(tag)
    for conversation_id, due in promises.due(session, conversation_ids, now).items():
        found[conversation_id].due = due
    for rating in session.scalars(sa.select(Rating).where(Rating.conversation_id.in_(conversation_ids))):
        found[rating.conversation_id].rating = rating
    return found


def tag(session: Session, agent: Agent, conversation_id: int, tag_id: int, now: datetime) -> None:
    """Puts a tag on. Raises NotFound."""
    conversation, its_tag = _conversation(session, conversation_id), session.get(Tag, tag_id)
    if its_tag is None or its_tag.retired_at:
        raise NotFound("There is no such tag.")
    tagging.tag(session, conversation_id, tag_id, agent.id, now)
    audit.note(session, agent, "conversation_tag", f"#{conversation_id}", now, after={"tag": its_tag.name})
    live.touched(session, conversation, now)


def untag(session: Session, agent: Agent, conversation_id: int, tag_id: int, now: datetime) -> None:
    """Takes a tag off; no rule puts it back. Raises NotFound."""
    conversation, its_tag = _conversation(session, conversation_id), session.get(Tag, tag_id)
    if its_tag is None:
        raise NotFound("There is no such tag.")
    tagging.untag(session, conversation_id, tag_id, now)
    audit.note(session, agent, "conversation_untag", f"#{conversation_id}", now, before={"tag": its_tag.name})
    live.touched(session, conversation, now)


def set_priority(
    session: Session, agent: Agent, conversation_id: int, priority: int, line: Line, now: datetime
) -> None:
    """How urgent it is; what was promised follows. Raises NotFound or BadInput."""
    if priority not in PRIORITIES:
        raise BadInput("There is no such priority.")
    conversation = _conversation(session, conversation_id)
    how = tagging.handling(session, conversation_id)
    if how.priority == priority:
        return
    before, how.priority = how.priority, priority
    session.flush()
    promises.remake(session, conversation, line)
    audit.note(
        session, agent, "conversation_priority", f"#{conversation_id}", now,
        {"priority": before}, {"priority": priority},
    )  # fmt: skip
    live.touched(session, conversation, now)


def set_team(
    session: Session, agent: Agent, conversation_id: int, team_id: int | None, now: datetime
) -> None:
    """Whose it is; None: anybody's. Raises NotFound."""
    conversation = _conversation(session, conversation_id)
    team = session.get(Team, team_id) if team_id is not None else None
    if team_id is not None and (team is None or team.retired_at):
        raise NotFound("There is no such team.")
    tagging.handling(session, conversation_id).team_id = team_id
    after = {"team": team.name if team else None}
    audit.note(session, agent, "conversation_team", f"#{conversation_id}", now, after=after)
    live.touched(session, conversation, now)


def ask_rating(session: Session, agent: Agent, conversation_id: int, now: datetime) -> None:
    """Asks the customer for a rating, whatever the ending was. Raises NotFound or Conflict."""
    conversation = _conversation(session, conversation_id)
    ratings.ask(session, conversation, agent, now)
    audit.note(session, agent, "rating_ask", f"#{conversation_id}", now)


def _conversation(session: Session, conversation_id: int) -> Conversation:
    found = queries.locked(session, conversation_id)
    if found is None:
        raise NotFound("There is no such conversation.")
    return found
