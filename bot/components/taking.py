"""A turn in Rasa's process, from the message to what is said about it.

Rasa's own loop asks the policy again after each sentence, through a graph that is put together anew, and
once more to hear that none is left. The policy knows the whole reply at once: here it is asked once, and
what it names is said, each sentence by Rasa's own action. Policy, responses and tracker are those of
`rasa shell`, where the loop comes to the same words.
"""

from __future__ import annotations

from typing import Any

from rasa.core.actions.action import ActionBotResponse
from rasa.core.agent import Agent
from rasa.core.channels.channel import UserMessage
from rasa.core.policies.policy import PolicyPrediction
from rasa.core.processor import MessageProcessor
from rasa.engine.constants import PLACEHOLDER_MESSAGE, PLACEHOLDER_TRACKER
from rasa.shared.core.constants import ACTION_LISTEN_NAME
from rasa.shared.core.events import ActionExecuted, UserUttered
from rasa.shared.core.trackers import DialogueStateTracker
from rasa.shared.nlu.constants import ENTITIES, INTENT, TEXT

from bot.components.graph import graph_of
from bot.components.look_up import facts_for
from bot.components.policy import DECISION, UTTERANCES
from bot.components.turns import FACTS

_NOTHING_READ = {TEXT: "", INTENT: {"name": None, "confidence": 0.0}, ENTITIES: []}


async def take(message: UserMessage, agent: Agent) -> dict[str, Any] | None:
    """Reads a message, looks up what it is about, and says what the policy decides; returns the decision.

    The agent is ready. What is said reaches the message's output channel. None if it couldn't be decided.
    """
    processor = agent.processor
    await _read(message, agent)
    tracker = await processor.log_message(message, should_save_tracker=False)
    tracker = await processor.run_action_extract_slots(message.output_channel, tracker)
    prediction = _decided(tracker, processor)
    utterances = (prediction.action_metadata or {}).get(UTTERANCES)
    if utterances is None:  # no action server to ask before, or a policy that a shop added
        await agent.handle_message(message)
        tracker = await processor.get_tracker(message.sender_id)
    else:
        tracker.update_with_events(prediction.events, processor.domain)
        await _say(utterances, message, tracker, agent)
        await processor.save_tracker(tracker)
    decision: dict[str, Any] | None = tracker.get_slot(DECISION)
    return decision


def read_text(text: str, processor: MessageProcessor) -> dict[str, Any]:
    """What Rasa's `parse_message` gives."""
    target, message = processor.model_metadata.nlu_target, UserMessage(text)
    tracker = DialogueStateTracker.from_events(message.sender_id, [])
    inputs = {PLACEHOLDER_MESSAGE: [message], PLACEHOLDER_TRACKER: tracker}
    [found] = graph_of(processor).run(inputs, [target])[target]
    return {**_NOTHING_READ, **found.as_dict(only_output_properties=True)}


def _decided(tracker: DialogueStateTracker, processor: MessageProcessor) -> PolicyPrediction:
    """What the policies predict."""
    target = processor.model_metadata.core_target
    prediction: PolicyPrediction = graph_of(processor).run({PLACEHOLDER_TRACKER: tracker}, [target])[target]
    return prediction


async def _read(message: UserMessage, agent: Agent) -> None:
    if message.parse_data is None:
        message.parse_data = read_text(message.text, agent.processor)
    found = message.parse_data
    uttered = UserUttered(message.text, found[INTENT], found[ENTITIES], found, metadata=message.metadata)
    facts = await facts_for(uttered, agent.action_endpoint)
    if facts is not None:
        message.metadata[FACTS] = facts


async def _say(names: list[str], message: UserMessage, tracker: DialogueStateTracker, agent: Agent) -> None:
    for name in names:
        said = await ActionBotResponse(name).run(message.output_channel, agent.nlg, tracker, agent.domain)
        tracker.update_with_events([ActionExecuted(name), *said], agent.domain)
        for utterance in said:
            await message.output_channel.send_response(message.sender_id, utterance.message())
    tracker.update(ActionExecuted(ACTION_LISTEN_NAME), agent.domain)
