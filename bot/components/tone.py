"""Whether a customer is upset, whatever they write about."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from rasa.engine.graph import ExecutionContext, GraphComponent
from rasa.engine.recipes.default_recipe import DefaultV1Recipe
from rasa.engine.storage.resource import Resource
from rasa.engine.storage.storage import ModelStorage
from rasa.shared.nlu.constants import ENTITIES, TEXT
from rasa.shared.nlu.training_data.message import Message
from rasa.shared.nlu.training_data.training_data import TrainingData

from bot.components.featurizer import vectors_of
from bot.components.heads import Head

CALM, UPSET = "calm", "upset"
TONE = "tone"


@DefaultV1Recipe.register(DefaultV1Recipe.ComponentType.ENTITY_EXTRACTOR, is_trainable=True)
class ToneReader(GraphComponent):
    """A second head on the features of the first.

    An upset message gets the entity `tone: upset` over its whole text; a calm one gets none. As an
    entity it is seen wherever Rasa shows what it read: `rasa shell nlu`, test stories, the tracker.
    It learns from `metadata: {tone: upset}` in `data/nlu.yml`; examples without it are calm.
    """

    def __init__(
        self, config: dict[str, Any], storage: ModelStorage, resource: Resource, head: Head | None = None
    ) -> None:
        self._config, self._storage, self._resource = config, storage, resource
        self._head = head

    @staticmethod
    def get_default_config() -> dict[str, Any]:
        """`strength`, `nearest` and `closeness` as for the topic.

        `threshold`: upset from this score on; above 0 a message is rather upset than calm.
        """
        return {"strength": 0.1, "nearest": 3, "closeness": 2.0, "threshold": 0.0}

    @classmethod
    def create(
        cls,
        config: dict[str, Any],
        model_storage: ModelStorage,
        resource: Resource,
        execution_context: ExecutionContext,
    ) -> ToneReader:
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
    ) -> ToneReader:
        """Called by Rasa with a trained model."""
        with model_storage.read_from(resource) as folder:
            return cls(config, model_storage, resource, Head.load(folder))

    def train(self, training_data: TrainingData) -> Resource:
        """Learns upset from calm. Raises ValueError when no example is marked as upset."""
        examples = [e for e in training_data.intent_examples if e.get(TEXT)]
        tones = [tone_of(example) for example in examples]
        if UPSET not in tones:
            raise ValueError("data/nlu.yml marks no example with `metadata: {tone: upset}`.")
        texts = [example.get(TEXT) for example in examples]
        self._head = Head.fit(texts, vectors_of(examples), tones, self._config["strength"])
        with self._storage.write_to(self._resource) as folder:
            self._head.save(folder)
        return self._resource

    def process(self, messages: list[Message]) -> list[Message]:
        """Adds the entity to upset messages."""
        for message in messages:
            text = message.get(TEXT)
            score = self._score(text, vectors_of([message]))
            if score >= self._config["threshold"]:
                entity = _entity(text, 1 / (1 + math.exp(-2 * score)))
                message.set(ENTITIES, [*message.get(ENTITIES, []), entity], add_to_output=True)
        return messages

    def _score(self, text: str, vector: np.ndarray) -> float:
        """How much rather upset than calm."""
        closeness = self._head.closeness(vector, self._config["nearest"])
        scores = self._head.margins([text], vector) / 2 + self._config["closeness"] * closeness
        calm, upset = scores[0]
        return float(upset - calm)


def tone_of(example: Message) -> str:
    """The tone an example or its intent block is marked with."""
    marks = example.get("metadata") or {}
    for level in ("example", "intent"):
        if tone := (marks.get(level) or {}).get(TONE):
            return str(tone)
    return CALM


def _entity(text: str, probability: float) -> dict[str, Any]:
    return {
        "entity": TONE,
        "value": UPSET,
        "start": 0,
        "end": len(text),
        "confidence_entity": probability,
        "extractor": ToneReader.__name__,
    }
