"""A turn in Rasa's process, from the message to what is said about it.

Rasa's own loop asks the policy again after each sentence, through a graph that is put together anew, and
once more to hear that none is left. The policy knows the whole reply at once: here it is asked once, and
what it names is said, each sentence by Rasa's own action. Policy, responses and tracker are those of
`rasa shell`, where the loop comes to the same words.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
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

TURNS_OF_THE_LOOP = 3  # what has arrived is parsed, and its request's task has begun
AT_ONCE = 8  # more would keep the first of them waiting
NOTHING_READ = {TEXT: "", INTENT: {"name": None, "confidence": 0.0}, ENTITIES: []}


class Together:
    """Reads in one go what waits at the same time: the encoder takes half as long over each of several."""

    def __init__(self) -> None:
        self._waiting: list[tuple[str, asyncio.Future[dict[str, Any]]]] = []

    async def read(self, text: str, processor: MessageProcessor) -> dict[str, Any]:
        """As `read_text`, with others that came meanwhile. Raises what reading this text raises."""
        found: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting.append((text, found))
        for _ in range(TURNS_OF_THE_LOOP):
            await asyncio.sleep(0)
        if not found.done():
            batch, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
            self._read(batch, processor)
        return await found

    @staticmethod
    def _read(batch: list[tuple[str, asyncio.Future[dict[str, Any]]]], processor: MessageProcessor) -> None:
        try:
            readings: list[Any] = read_texts([text for text, _ in batch], processor)
        except Exception:  # each gets its own
            readings = [_tried(text, processor) for text, _ in batch]
        for (_, found), reading in zip(batch, readings, strict=True):
            if found.done():
                continue  # whoever asked has hung up
            if isinstance(reading, Exception):
                found.set_exception(reading)
            else:
                found.set_result(reading)


def _tried(text: str, processor: MessageProcessor) -> dict[str, Any] | Exception:
    try:
        return read_text(text, processor)
    except Exception as error:
        return error


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
    return read_texts([text], processor)[0]


def read_texts(texts: Sequence[str], processor: MessageProcessor) -> list[dict[str, Any]]:
    """As `read_text`, several in one run of the graph."""
    target, messages = processor.model_metadata.nlu_target, [UserMessage(text) for text in texts]
    tracker = DialogueStateTracker.from_events(messages[0].sender_id, [])
    inputs = {PLACEHOLDER_MESSAGE: messages, PLACEHOLDER_TRACKER: tracker}
    found = graph_of(processor).run(inputs, [target])[target]
    return [{**NOTHING_READ, **message.as_dict(only_output_properties=True)} for message in found]


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
