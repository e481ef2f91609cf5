"""What supervisors do with tags and rules."""

import hashlib
import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bot.desk import audit
from bot.domain.errors import BadInput, Conflict, NotFound
from bot.domain.mentions import LONGEST, MOST, mentions, normal
from bot.domain.words import Author, Channel, Topic
from bot.store.care import NAME_LENGTH, PRIORITIES, Rule, Tag, Team
from bot.store.tables import Agent, Conversation, HandOff, Message

LOOK_BACK = 5_000  # customers' messages that a rule is tried on
SHOWN = 20  # of those that it would have matched
RULES, TAGS = 100, 300  # at most


@dataclass(frozen=True)
class Draft:
    """A rule as its form has it."""

    name: str = ""
    phrases: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    channel: str = ""
    tag: str = ""  # a tag's name; a new one is made
    priority: int | None = None
    team_id: int | None = None

    @property
    def digest(self) -> str:
        """Stands for when it holds: what was tried is what goes live."""
        when = json.dumps([self.phrases, sorted(self.topics), self.channel])
        return hashlib.sha256(when.encode()).hexdigest()[:20]


@dataclass(frozen=True)
class Match:
    """A past message that a rule would have held for, and why."""

    conversation_id: int
    text: str
    why: str
    at: datetime


@dataclass(frozen=True)
class Trial:
    """A rule tried on the newest messages of customers."""

    looked_at: int
    conversations: int
    messages: int
    shown: list[Match] = field(default_factory=list)


def check(draft: Draft) -> None:
    """Raises BadInput for a draft that can't be a rule."""
    if not 0 < len(draft.name.strip()) <= NAME_LENGTH:
        raise BadInput("Give the rule a name of at most 60 characters.")
    if not draft.phrases and not draft.topics:
        raise BadInput("Say when the rule holds: a word, or a topic.")
    if len(draft.phrases) > MOST or any(len(one) > LONGEST for one in draft.phrases):
        raise BadInput("At most 60 words or phrases of at most 80 characters each.")
    if any(not normal(one).strip("* ") for one in draft.phrases):
        raise BadInput("A * alone would match everything; write a word before it.")
    if draft.channel and draft.channel not in {one.value for one in Channel}:
        raise BadInput("There is no such channel.")
    if set(draft.topics) - {one.value for one in Topic}:
        raise BadInput("There is no such topic.")
    if draft.priority is not None and draft.priority not in PRIORITIES:
        raise BadInput("There is no such priority.")
    if not draft.tag.strip() and draft.priority is None and draft.team_id is None:
        raise BadInput("Say what the rule does: a tag, a priority or a team.")
    if len(draft.tag.strip()) > NAME_LENGTH:
        raise BadInput("Give the tag a name of 1 to 60 characters.")


def attempt(session: Session, draft: Draft) -> Trial:
    """Tries a draft on the newest messages of customers. Raises BadInput."""
    check(draft)
    topic = (
        sa.select(sa.func.max(HandOff.topic, type_=sa.String))
        .where(HandOff.conversation_id == Conversation.id)
        .scalar_subquery()
    )
    newest = (
        sa.select(
            Message.text, Message.at, Conversation.id, Conversation.channel, Conversation.answered, topic
        )
        .join(Conversation, Conversation.id == Message.conversation_id)
        .where(Message.author == Author.CUSTOMER)
        .order_by(Message.id.desc())
        .limit(LOOK_BACK)
    )
    looked_at, found = 0, []
    for text, at, conversation_id, channel, answered, handed in session.execute(newest):
        looked_at += 1
        if draft.channel and channel.value != draft.channel:
            continue
        topics = {answered.value if answered else "", handed or ""}
        why = mentions(text, draft.phrases) or next((one for one in draft.topics if one in topics), None)
        if why:
            found.append(Match(conversation_id, text[:200], why, at))
    conversations = len({match.conversation_id for match in found})
    return Trial(looked_at, conversations, len(found), found[:SHOWN])


def save(
    session: Session,
    agent: Agent,
    draft: Draft,
    now: datetime,
    rule_id: int | None = None,
    live: bool = False,
) -> Rule:
    """Writes a rule, as a draft or live. Raises BadInput, NotFound or Conflict (too many)."""
    check(draft)
    team = session.get(Team, draft.team_id) if draft.team_id is not None else None
    if draft.team_id is not None and (team is None or team.retired_at):
        raise BadInput("There is no such team.")
    rule = _rule(session, rule_id) if rule_id is not None else Rule()
    before = as_dict(session, rule) if rule_id is not None else None
    if rule_id is None and len(listed(session)) >= RULES:
        raise Conflict("There are 100 rules already; retire one first.")
    tag_id = add_tag(session, agent, draft.tag, now).id if draft.tag.strip() else None
    rule.name = draft.name.strip()
    rule.phrases, rule.topics = {"any": list(draft.phrases)}, {"any": list(draft.topics)}
    rule.channel = Channel(draft.channel) if draft.channel else None
    rule.tag_id, rule.priority, rule.team_id = tag_id, draft.priority, draft.team_id
    rule.changed_at = now
    rule.live_since = (rule.live_since or now) if live else None
    session.add(rule)
    session.flush()
    what = "rule_change" if before else "rule_add"
    audit.note(session, agent, what, rule.name, now, before, as_dict(session, rule))
    return rule


def stop(session: Session, agent: Agent, rule_id: int, now: datetime) -> None:
    """Makes a rule a draft again. Raises NotFound."""
    rule = _rule(session, rule_id)
    rule.live_since = None
    audit.note(session, agent, "rule_stop", rule.name, now)


def retire(session: Session, agent: Agent, rule_id: int, now: datetime) -> None:
    """Puts a rule away; what it did stays. Raises NotFound."""
    rule = _rule(session, rule_id)
    rule.live_since, rule.retired_at = None, now
    audit.note(session, agent, "rule_retire", rule.name, now)


def listed(session: Session) -> list[Rule]:
    """Rules that aren't retired, the oldest first: in this order they are carried out."""
    return list(session.scalars(sa.select(Rule).where(Rule.retired_at.is_(None)).order_by(Rule.id)))


def draft_of(session: Session, rule_id: int) -> Draft:
    """A rule as its form shows it. Raises NotFound."""
    rule = _rule(session, rule_id)
    its_tag = session.get(Tag, rule.tag_id) if rule.tag_id else None
    return Draft(
        rule.name,
        tuple(rule.phrases["any"]),
        tuple(rule.topics["any"]),
        rule.channel.value if rule.channel else "",
        its_tag.name if its_tag else "",
        rule.priority,
        rule.team_id,
    )


def as_dict(session: Session, rule: Rule) -> dict[str, Any]:
    """A rule for the audit trail."""
    its_tag = session.get(Tag, rule.tag_id) if rule.tag_id else None
    its_team = session.get(Team, rule.team_id) if rule.team_id else None
    return {
        "name": rule.name,
        "phrases": rule.phrases["any"],
        "topics": rule.topics["any"],
        "channel": rule.channel.value if rule.channel else None,
        "tag": its_tag.name if its_tag else None,
        "priority": rule.priority,
        "team": its_team.name if its_team else None,
        "live": rule.live_since is not None,
    }


def add_tag(session: Session, agent: Agent, name: str, now: datetime) -> Tag:
    """The tag of this name, made if there is none, and brought back if it was retired.

    Raises BadInput or Conflict (too many).
    """
    name = " ".join(name.split())
    if not 0 < len(name) <= NAME_LENGTH:
        raise BadInput("Give the tag a name of 1 to 60 characters.")
    found = session.scalar(sa.select(Tag).where(Tag.key == normal(name)[: 2 * NAME_LENGTH]))
    if found and found.retired_at is None:
        return found
    if len(tags(session)) >= TAGS:
        raise Conflict("There are 300 tags already; retire one first.")
    if found:
        found.retired_at = None
    else:
        found = Tag(name=name, key=normal(name)[: 2 * NAME_LENGTH], created_at=now)
        session.add(found)
    session.flush()
    audit.note(session, agent, "tag_add", found.name, now)
    return found


def retire_tag(session: Session, agent: Agent, tag_id: int, now: datetime) -> None:
    """Nobody can put it on any more; where it is it stays.

    Raises NotFound, or Conflict while a rule uses it.
    """
    found = session.get(Tag, tag_id)
    if found is None:
        raise NotFound("There is no such tag.")
    if any(rule.tag_id == tag_id for rule in listed(session)):
        raise Conflict("A rule puts this tag on; change or retire the rule first.")
    found.retired_at = now
    audit.note(session, agent, "tag_retire", found.name, now)


def tags(session: Session) -> list[Tag]:
    """Tags in use, by name."""
    return list(session.scalars(sa.select(Tag).where(Tag.retired_at.is_(None)).order_by(Tag.key)))


def _rule(session: Session, rule_id: int) -> Rule:
    found = session.get(Rule, rule_id)
    if found is None or found.retired_at:
        raise NotFound("There is no such rule.")
    return found
