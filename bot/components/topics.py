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
from bot.components.heads import Head
from bot.domain.words import Remark

RANKING_LENGTH = 10


@DefaultV1Recipe.register(DefaultV1Recipe.ComponentType.INTENT_CLASSIFIER, is_trainable=True)
class TopicClassifier(GraphComponent, IntentClassifier):
    """Logistic regression over meaning and spelling; a bare order number or e-mail needs neither."""

    def __init__(
        self, config: dict[str, Any], storage: ModelStorage, resource: Resource, head: Head | None = None
    ) -> None:
        self._config, self._storage, self._resource = config, storage, resource
        self._head = head

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
            return cls(config, model_storage, resource, Head.load(folder))

    def train(self, training_data: TrainingData) -> Resource:
        """Learns the intents of `data/nlu.yml`."""
        examples = [e for e in training_data.intent_examples if e.get(TEXT)]
        self._head = Head.fit(examples, [e.get(INTENT) for e in examples], self._config["strength"])
        with self._storage.write_to(self._resource) as folder:
            self._head.save(folder)
        return self._resource

    def process(self, messages: list[Message]) -> list[Message]:
        """Sets `intent` and `intent_ranking`."""
        for message, row in zip(messages, self._head.probabilities(messages), strict=True):
            ranking = self._ranking(message, row)
            message.set(INTENT, ranking[0], add_to_output=True)
            message.set("intent_ranking", ranking, add_to_output=True)
        return messages

    def _ranking(self, message: Message, row: np.ndarray) -> list[dict[str, Any]]:
        if only_details(message.get(TEXT), message.get(ENTITIES, [])):
            return [{"name": Remark.GIVE_DETAILS.value, "confidence": 1.0}]
        best = np.argsort(row)[::-1][:RANKING_LENGTH]
        return [{"name": self._head.labels[i], "confidence": float(row[i])} for i in best]
