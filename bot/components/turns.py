"""What Rasa's tracker holds, as the rule's own words: readings, contexts and decisions.

The bot process sends the context along with each turn. Where there is none (`rasa shell`, test and
training stories) the turns before are decided once more, by the same rule, to know where the
conversation stands.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from rasa.shared.core.constants import ACTION_LISTEN_NAME, ACTION_SESSION_START_NAME
from rasa.shared.core.events import ActionExecuted, Event, SlotSet, UserUttered

from bot.components.details import EMAIL, ORDER_NUMBER
from bot.components.language import READABLE, language_of
from bot.components.missing import DELIVERED, MISSING
from bot.components.plan import AUTOMATED, LOOK_UP, OrderFacts, plan
from bot.components.reader import CALM, TONE, TOPIC, UPSET, WORDS
from bot.components.wishes import PERSON
from bot.domain.rule import Action, Context, Decision, Detail, Found, Proposal, Reading, decide, last_word
from bot.domain.words import Reason, Remark, State, Topic

CONTEXT, FACTS = "context", "facts"  # the keys in a message's metadata
_INTENTS: dict[str, Topic | Remark] = {word.value: word for kind in (Topic, Remark) for word in kind}
_NOT_SAID = (ACTION_LISTEN_NAME, ACTION_SESSION_START_NAME)


@dataclass
class Turn:
    """A customer's message and what has been done about it so far."""

    message: UserUttered
    language_before: str | None = None
    done: list[str] = field(default_factory=list)
    slots: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def language(self) -> str:
        """The language of the customer's words; where they tell none, of those before."""
        sent = (self.message.metadata or {}).get(CONTEXT) or {}
        return language_of(self.message.text or "", sent.get("language") or self.language_before)

    @property
    def reading(self) -> Reading:
        """What was read. In a language that the bot doesn't speak nothing counts as read."""
        if self.language not in READABLE:
            return Reading(readable=False, confidence=self._confidence)
        return Reading(
            intent=self._intent,
            topics=self._topics,
            confidence=self._confidence,
            upset=self._entity(TONE) == UPSET,
            order_number=self._entity(ORDER_NUMBER),
            email=self._entity(EMAIL),
            found=self._found,
            missing=self._entity(MISSING) is not None,
            delivered=DELIVERED in (self._entity(MISSING), self.order.progress),
        )

    @property
    def facts(self) -> dict[str, Any] | None:
        """What this turn's look-up set, as the channel sent it along or as the action did it; None before.

        Empty if the action told nothing.
        """
        sent: dict[str, Any] | None = (self.message.metadata or {}).get(FACTS)
        return self.slots if sent is None and LOOK_UP in self.done else sent

    @property
    def tone(self) -> str | None:
        """How the customer sounds; None where nothing was read."""
        if self.language not in READABLE or not (self.message.text or "").strip():
            return None
        return UPSET if self._entity(TONE) == UPSET else CALM

    def words_for(self, reason: Reason | None) -> str | None:
        """The customer's words that lead to a hand-off, where the reading knows them."""
        if reason is Reason.ASKED and self._entity(PERSON):
            return self._entity(PERSON)
        if reason is Reason.EMPATHY and self._entity(TONE) == UPSET:
            return next(e.get(WORDS) for e in self.message.entities if e.get("entity") == TONE) or None
        if reason in (Reason.ASKED, Reason.EMPATHY, Reason.ACCOUNT):
            return self.message.intent.get(WORDS)
        return None

    @property
    def order(self) -> OrderFacts:
        """What this turn's look-up found out."""
        facts = self.facts or {}
        known = {name: bool(facts.get(name)) for name in ("carrier", "tracking", "eta")}
        return OrderFacts(facts.get("progress") or "other", **known)

    @property
    def _intent(self) -> Topic | Remark | None:
        """A plain request for a person wins over whatever else the message is about."""
        if self._entity(PERSON):
            return Remark.ASK_PERSON
        return _INTENTS.get(self.message.intent_name or "")

    @property
    def _topics(self) -> tuple[Topic, ...]:
        """Questions besides the intent, and the question of who asks for a person."""
        names = [self.message.intent_name] if self._entity(PERSON) else []
        names += [e.get("value") for e in self.message.entities if e.get("entity") == TOPIC]
        found = (_INTENTS.get(name or "") for name in names)
        return tuple(word for word in found if isinstance(word, Topic))

    @property
    def _confidence(self) -> float:
        """Of the most likely intent, also where it isn't likely enough and the fallback is in front."""
        ranking = self.message.parse_data.get("intent_ranking") or [self.message.intent]
        known = [entry for entry in ranking if entry.get("name") in _INTENTS]
        return float(known[0].get("confidence", 1.0)) if known else 0.0

    @property
    def _found(self) -> Found | None:
        """None before the look-up; FAILED when it told nothing (the action server is down)."""
        return None if self.facts is None else Found(self.facts.get("found") or Found.FAILED)

    def _entity(self, name: str) -> str | None:
        values = (e.get("value") for e in self.message.entities if e.get("entity") == name)
        return next(values, None)


def turns_of(events: Iterable[Event]) -> list[Turn]:
    """Every customer message with the actions and slots that follow it."""
    turns: list[Turn] = []
    for event in events:
        if isinstance(event, UserUttered):
            turns.append(Turn(event, turns[-1].language if turns else None))
        elif turns and isinstance(event, ActionExecuted) and event.action_name not in _NOT_SAID:
            turns[-1].done.append(event.action_name)
        elif turns and isinstance(event, SlotSet):
            turns[-1].slots[event.key] = event.value
    return turns


def script(turn: Turn, context: Context) -> tuple[Decision, list[str]]:
    """What is decided about a turn, and every action for it, those already done included."""
    decision = decide(turn.reading, context)
    looked_up = [LOOK_UP] if LOOK_UP in turn.done else []
    return decision, looked_up + plan(decision, context, turn.order)


def context_of(turns: list[Turn]) -> Context:
    """Where the conversation stands at the last turn: as sent along, else worked out."""
    sent = (turns[-1].message.metadata or {}).get(CONTEXT)
    if sent is not None:
        return Context.from_json(sent)
    context = _opening()
    for turn in turns[:-1]:
        context = _after(turn, context)
    return context


def _opening() -> Context:
    """Nobody waits for more in the shell or in a story: a greeting is answered at once."""
    return Context(quiet=True)


def _after(turn: Turn, context: Context) -> Context:
    reading = turn.reading
    decision, actions = script(turn, context)
    says = [action for action in actions if action != LOOK_UP]
    proposal = Proposal(
        decision.action,
        text=" ".join(says),
        reason=decision.reason,
        settled=reading.intent is Remark.SETTLED,
    )
    effect = last_word(proposal, context)
    if effect.state is State.CLOSED:
        return _opening()
    context = replace(
        context,
        state=effect.state,
        replies_used=effect.reply_no or context.replies_used,
        disclosed=context.disclosed or AUTOMATED in says,
        order_number=reading.order_number or context.order_number,
        email=reading.email or context.email,
    )
    if decision.action is Action.ANSWER:
        return replace(context, answered=decision.topic, asked_for=None)
    if decision.action is Action.ASK:
        missed = decision.detail is Detail.AGAIN
        return replace(context, asked_for=decision.detail, misses=context.misses + missed)
    return context
