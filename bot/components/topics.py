"""Which intent a message has: a topic, or a remark such as a greeting."""

from __future__ import annotations

from typing import Any

import numpy as np
from rasa.engine.graph import ExecutionContext, GraphComponent
from rasa.engine.recipes.default_recipe import DefaultV1Recipe
from rasa.engine.storage.resource import Resource
from rasa.engine.storage.storage import ModelStorage
from rasa.nlu.classifiers.classifier import IntentClassifier
from rasa.shared.nlu.constants import ENTITIES, INTENT, TEXT
from rasa.shared.nlu.training_data.message import Message
from rasa.shared.nlu.training_data.training_data import TrainingData

from bot.components.details import only_details
from bot.components.examples import Examples
from bot.components.heads import Head
from bot.domain.words import Remark

RANKING_LENGTH = 10


@DefaultV1Recipe.register(DefaultV1Recipe.ComponentType.INTENT_CLASSIFIER, is_trainable=True)
class TopicClassifier(GraphComponent, IntentClassifier):
    """Logistic regression over meaning and spelling; a bare order number or e-mail needs neither.

    The confidence is half how much likelier an intent is than the others, half how close the message
    is to an example of it.
    """

    def __init__(
        self,
        config: dict[str, Any],
        storage: ModelStorage,
        resource: Resource,
        head: Head | None = None,
        examples: Examples | None = None,
    ) -> None:
        self._config, self._storage, self._resource = config, storage, resource
        self._head, self._examples = head, examples

    @staticmethod
    def get_default_config() -> dict[str, Any]:
        """`strength`: how closely to follow the examples (the C of logistic regression)."""
        return {"strength": 10.0}

    @classmethod
    def create(
        cls,
        config: dict[str, Any],
        model_storage: ModelStorage,
        resource: Resource,
        execution_context: ExecutionContext,
    ) -> TopicClassifier:
        """Called by Rasa before training."""
        return cls(config, model_storage, resource)

    @classmethod
    def load(
        cls,
        config: dict[str, Any],
        model_storage: ModelStorage,
        resource: Resource,
        execution_context: ExecutionContext,
        **kwargs: Any,
    ) -> TopicClassifier:
        """Called by Rasa with a trained model."""
        with model_storage.read_from(resource) as folder:
            return cls(config, model_storage, resource, Head.load(folder), Examples.load(folder))

    def train(self, training_data: TrainingData) -> Resource:
        """Learns the intents of `data/nlu.yml`."""
        messages = [e for e in training_data.intent_examples if e.get(TEXT)]
        intents = [e.get(INTENT) for e in messages]
        self._head = Head.fit(messages, intents, self._config["strength"])
        self._examples = Examples.of(messages, intents)
        with self._storage.write_to(self._resource) as folder:
            self._head.save(folder)
            self._examples.save(folder)
        return self._resource

    def process(self, messages: list[Message]) -> list[Message]:
        """Sets `intent` and `intent_ranking`."""
        likely, close = self._head.probabilities(messages), self._examples.closeness(messages)
        for message, order, row in zip(
            messages, likely.argsort()[:, ::-1], (likely + close) / 2, strict=True
        ):
            ranking = self._ranking(message, order, row)
            message.set(INTENT, ranking[0], add_to_output=True)
            message.set("intent_ranking", ranking, add_to_output=True)
        return messages

    def _ranking(self, message: Message, order: np.ndarray, confidence: np.ndarray) -> list[dict[str, Any]]:
        if only_details(message.get(TEXT), message.get(ENTITIES, [])):
            return [{"name": Remark.GIVE_DETAILS.value, "confidence": 1.0}]
        best = order[:RANKING_LENGTH]
        return [{"name": self._head.labels[i], "confidence": float(confidence[i])} for i in best]
