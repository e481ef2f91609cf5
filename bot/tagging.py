"""Tags, priority and team of a conversation: by rule when its customer writes, by hand at the desk.

A rule is carried out once in a conversation, so that what an agent changes afterwards stays changed.
Whoever calls has locked the conversation's row.
"""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bot import live
from bot.domain.mentions import mentions
from bot.domain.words import Channel, Topic
from bot.store import rows
from bot.store.care import ConversationTag, Handling, Promise, Rule, RuleMatch
from bot.store.tables import Conversation, HandOff

LOW, NORMAL = 0, 1  # the priority of what nothing was said about
_DONE = sa.select(RuleMatch.rule_id).where(RuleMatch.conversation_id == sa.bindparam("conversation"))
_RULE = rows.table(Rule).c
LIVE = sa.select(_RULE.id).where(_RULE.live_since.is_not(None)).limit(1)  # whether there is any
_LIVE = sa.select(Rule).where(Rule.live_since.is_not(None), Rule.id.not_in(_DONE)).order_by(Rule.id)


def matches(rule: Rule, channel: str, text: str, topics: Sequence[str]) -> str | None:
    """Why a rule holds for a message: the phrase or topic that was found; None if it doesn't."""
    if rule.channel is not None and rule.channel.value != channel:
        return None
    found = mentions(text, rule.phrases["any"])
    return found or next((topic for topic in topics if topic in rule.topics["any"]), None)


def apply_rules(
    session: Session, conversation_id: int, channel: Channel, text: str, topic: Topic | None, now: datetime
) -> None:
    """Carries out each live rule that holds for what a customer wrote and wasn't carried out here before.

    Of several the highest priority wins, and the first one's team. What was promised follows the priority.
    """
    if session.scalar(LIVE) is None:
        return
    rules = session.scalars(_LIVE, {"conversation": conversation_id}).all()
    topics = [topic.value] if topic else []
    held = [rule for rule in rules if matches(rule, channel.value, text, topics)]
    if not held:
        return
    how = handling(session, conversation_id)
    before = how.priority
    for rule in held:
        session.add(RuleMatch(rule_id=rule.id, conversation_id=conversation_id, at=now))
        if rule.tag_id and session.get(ConversationTag, (conversation_id, rule.tag_id)) is None:
            session.add(ConversationTag(conversation_id=conversation_id, tag_id=rule.tag_id, at=now))
            session.flush()
        if rule.priority == LOW and how.priority == NORMAL:
            how.priority = LOW
        elif rule.priority is not None:
            how.priority = max(how.priority, rule.priority)
        how.team_id = how.team_id or rule.team_id
    if how.priority != before:
        _promise_anew(session, conversation_id)
    live.touched(session, session.get_one(Conversation, conversation_id), now)


def _promise_anew(session: Session, conversation_id: int) -> None:
    """Takes the open promise away: `bot.desk.promises` makes one for each open hand-off that has none."""
    its = sa.select(HandOff.id).where(HandOff.conversation_id == conversation_id, HandOff.ended_at.is_(None))
    session.execute(sa.delete(Promise).where(Promise.hand_off_id.in_(its)))


def handling(session: Session, conversation_id: int) -> Handling:
    """Priority and team of a conversation, to be changed."""
    found = session.get(Handling, conversation_id)
    if found is None:
        found = Handling(conversation_id=conversation_id, priority=NORMAL)
        session.add(found)
        session.flush()
    return found


def tag(session: Session, conversation_id: int, tag_id: int, agent_id: int, now: datetime) -> None:
    """Puts a tag on by hand; one that is there stays as it is."""
    found = session.get(ConversationTag, (conversation_id, tag_id))
    if found is None:
        session.add(
            ConversationTag(conversation_id=conversation_id, tag_id=tag_id, at=now, agent_id=agent_id)
        )
    elif found.removed_at:
        found.at, found.agent_id, found.removed_at = now, agent_id, None


def untag(session: Session, conversation_id: int, tag_id: int, now: datetime) -> None:
    """Takes a tag off; no rule puts it back."""
    found = session.get(ConversationTag, (conversation_id, tag_id))
    if found and found.removed_at is None:
        found.removed_at = now
