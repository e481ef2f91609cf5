"""The policy that decides, by `bot.domain.rule`, what Rasa does with each turn."""

from __future__ import annotations

from typing import Any

from rasa.core.policies.policy import Policy, PolicyPrediction, SupportedData
from rasa.engine.recipes.default_recipe import DefaultV1Recipe
from rasa.engine.storage.resource import Resource
from rasa.shared.core.constants import (
    ACTION_BACK_NAME,
    ACTION_LISTEN_NAME,
    ACTION_RESTART_NAME,
    ACTION_SESSION_START_NAME,
    USER_INTENT_BACK,
    USER_INTENT_RESTART,
    USER_INTENT_SESSION_START,
)
from rasa.shared.core.domain import Domain
from rasa.shared.core.events import Event, SlotSet
from rasa.shared.core.generator import TrackerWithCachedStates
from rasa.shared.core.trackers import DialogueStateTracker
from rasa.shared.exceptions import RasaException

from bot.components.plan import LOOK_UP
from bot.components.times import spoken
from bot.components.turns import Turn, context_of, script, turns_of
from bot.domain.rule import Context, Decision
from bot.domain.words import Button, Remark

DECISION = "decision"  # the slot that the channel reads
UTTERANCES = "utterances"  # the key in a prediction's metadata: all that is left to say
# Rasa's own, typed as "/restart" in the shell. No customer gets there: the channel strips the slash.
COMMANDS = {
    USER_INTENT_RESTART: ACTION_RESTART_NAME,
    USER_INTENT_BACK: ACTION_BACK_NAME,
    USER_INTENT_SESSION_START: ACTION_SESSION_START_NAME,
}


class BrokenPromise(RasaException):
    """A story or rule in `data/` that the rule doesn't keep."""


@DefaultV1Recipe.register(DefaultV1Recipe.ComponentType.POLICY_WITHOUT_END_TO_END_SUPPORT, is_trainable=True)
class TwoRepliesPolicy(Policy):
    """Never guesses from examples: training only checks that every story and rule is kept."""

    @staticmethod
    def supported_data() -> SupportedData:
        """Stories and rules alike are checked."""
        return SupportedData.ML_AND_RULE_DATA

    @staticmethod
    def get_default_config() -> dict[str, Any]:
        """`priority` above Rasa's own policies, should a shop add one: this one decides."""
        return {"priority": 10}

    def train(
        self, training_trackers: list[TrackerWithCachedStates], domain: Domain, **kwargs: Any
    ) -> Resource:
        """Raises BrokenPromise with the story's name and both courses of action."""
        for tracker in training_trackers:
            if not tracker.is_augmented:  # joined from pieces: no conversation that anybody wrote
                check(tracker)
        return self._resource

    def predict_action_probabilities(
        self,
        tracker: DialogueStateTracker,
        domain: Domain,
        rule_only_data: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> PolicyPrediction:
        """The next action of the plan for this turn, with certainty, and the decision as a slot.

        Where the plan is words only, its metadata names all those to come: who reads it need not ask again.
        """
        turns = turns_of(tracker.applied_events())
        if not turns:
            return self._certain(ACTION_LISTEN_NAME, domain, [])
        turn, context = turns[-1], context_of(turns)
        command = COMMANDS.get(turn.message.intent_name)
        if command and command not in turn.done:
            return self._certain(command, domain, [])
        decision, actions = script(turn, context)
        rest = actions[len(turn.done) :]
        events = _changes(tracker, _noted(turn, context, decision))
        known = None if LOOK_UP in rest else {UTTERANCES: rest}
        return self._certain(rest[0] if rest else ACTION_LISTEN_NAME, domain, events, known)

    def _certain(
        self, action: str, domain: Domain, events: list[Event], metadata: dict[str, Any] | None = None
    ) -> PolicyPrediction:
        probabilities = self._default_predictions(domain)
        probabilities[domain.index_for_action(action)] = 1.0
        return self._prediction(probabilities, events=events, action_metadata=metadata)


def check(tracker: DialogueStateTracker) -> None:
    """Raises BrokenPromise when the rule would do anything else than the conversation says."""
    turns = turns_of(tracker.applied_events())
    for number, turn in enumerate(turns, start=1):
        _, actions = script(turn, context_of(turns[:number]))
        if actions != turn.done:
            raise BrokenPromise(
                f"'{tracker.sender_id}', message {number} ({turn.message.intent_name}): "
                f"written is {turn.done}, but the rule does {actions}."
            )


def _noted(turn: Turn, context: Context, decision: Decision) -> dict[str, Any]:
    """The slots that the responses and the channel need."""
    reading = turn.reading
    return {
        **(turn.facts or {}),
        "language": turn.language,
        "opens_at": spoken(context.opens_at, turn.language),
        DECISION: {
            "action": decision.action.value,
            "topic": decision.topic and decision.topic.value,
            "reason": decision.reason and decision.reason.value,
            "detail": decision.detail and decision.detail.value,
            "confidence": round(reading.confidence, 4),
            "language": turn.language,
            "order_number": reading.order_number,
            "email": reading.email,
            "tone": turn.tone,
            "words": turn.words_for(decision.reason),
            "settled": reading.intent is Remark.SETTLED or context.pressed is Button.SETTLED,
        },
    }


def _changes(tracker: DialogueStateTracker, slots: dict[str, Any]) -> list[Event]:
    return [SlotSet(name, value) for name, value in slots.items() if tracker.get_slot(name) != value]
