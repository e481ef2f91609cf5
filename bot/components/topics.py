"""What a message is about: one or more topics, or a remark such as a greeting."""

from __future__ import annotations

from typing import Any

import numpy as np
from rasa.engine.graph import ExecutionContext, GraphComponent
from rasa.engine.recipes.default_recipe import DefaultV1Recipe
from rasa.engine.storage.resource import Resource
from rasa.engine.storage.storage import ModelStorage
from rasa.nlu.classifiers.classifier import IntentClassifier
from rasa.shared.constants import DEFAULT_NLU_FALLBACK_INTENT_NAME
from rasa.shared.nlu.constants import ENTITIES, INTENT, TEXT
from rasa.shared.nlu.training_data.message import Message
from rasa.shared.nlu.training_data.training_data import TrainingData

from bot.components.details import only_details
from bot.components.featurizer import PARTS, vectors_of
from bot.components.heads import Head
from bot.components.mixed import Guess, Matter, matter_of
from bot.components.parts import is_question
from bot.domain.words import Remark

TOPIC = "topic"  # the entity for every question after the first
RANKING_LENGTH = 10


@DefaultV1Recipe.register(DefaultV1Recipe.ComponentType.INTENT_CLASSIFIER, is_trainable=True)
class TopicClassifier(GraphComponent, IntentClassifier):
    """Reads a message as a whole and each of its parts, and puts the readings together.

    The confidence is an estimate of how often such a reading is right; below the threshold the
    intent is Rasa's `nlu_fallback`. A bare order number or e-mail needs no reading.
    """

    def __init__(
        self, config: dict[str, Any], storage: ModelStorage, resource: Resource, head: Head | None = None
    ) -> None:
        self._config, self._storage, self._resource = config, storage, resource
        self._head = head

    @staticmethod
    def get_default_config() -> dict[str, Any]:
        """`strength`: how closely to follow the examples (the C of the support vector machine).

        `nearest` examples of an intent say how close it is, and count `closeness` times. `confidence`
        holds the weights of a logistic function: of the best intent's score, of its lead over the
        second and of its closeness. `threshold`: from this confidence on a reading counts.
        """
        return {
            "strength": 0.5,
            "nearest": 2,
            "closeness": 1.0,
            "confidence": {"bias": -1.0, "score": 1.0, "lead": 2.0, "closeness": 1.0},
            "threshold": 0.6,
        }

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
        messages = [e for e in training_data.intent_examples if e.get(TEXT)]
        texts, intents = zip(*((e.get(TEXT), e.get(INTENT)) for e in messages), strict=True)
        self._head = Head.fit(texts, vectors_of(messages), intents, self._config["strength"])
        with self._storage.write_to(self._resource) as folder:
            self._head.save(folder)
        return self._resource

    def process(self, messages: list[Message]) -> list[Message]:
        """Sets `intent`, `intent_ranking` and an entity for each further topic."""
        for message in messages:
            if self._is_bare_detail(message):
                ranking, matter = [], Matter(Remark.GIVE_DETAILS.value, 1.0)
            else:
                ranking, matter = self._read(message)
            self._set(message, ranking, matter)
        return messages

    def _is_bare_detail(self, message: Message) -> bool:
        known = Remark.GIVE_DETAILS.value in self._head.labels
        return known and only_details(message.get(TEXT), message.get(ENTITIES, []))

    def _read(self, message: Message) -> tuple[list[dict[str, Any]], Matter]:
        """The ranking of the whole message's intents, and what it is about with its parts."""
        parts = message.get(PARTS) or []
        texts = [message.get(TEXT), *(part.text for part in parts)]
        vectors = np.vstack([vectors_of([message]), *(part.vector for part in parts)])
        closeness = self._head.closeness(vectors, self._config["nearest"])
        scores = self._head.margins(texts, vectors) + self._config["closeness"] * closeness
        confidence = confidences(scores, closeness, self._config["confidence"])
        best = scores.argmax(axis=1)
        guesses = [
            Guess(str(self._head.labels[i]), float(p), is_question(text))
            for i, p, text in zip(best, confidence, texts, strict=True)
        ]
        matter = matter_of(guesses[0], guesses[1:], self._config["threshold"])
        return self._ranking(scores[0], float(confidence[0])), matter

    def _ranking(self, scores: np.ndarray, confidence: float) -> list[dict[str, Any]]:
        """The best with its confidence; the others share what is left."""
        order = scores.argsort()[::-1]
        rest = np.exp(scores[order[1:]])
        shares = [confidence, *((1 - confidence) * rest / rest.sum())]
        return [
            {"name": str(self._head.labels[i]), "confidence": float(share)}
            for i, share in zip(order[:RANKING_LENGTH], shares, strict=False)
        ]

    def _set(self, message: Message, ranking: list[dict[str, Any]], matter: Matter) -> None:
        intent = {
            "name": matter.intent or DEFAULT_NLU_FALLBACK_INTENT_NAME,
            "confidence": matter.confidence if matter.intent else 1 - matter.confidence,
        }
        others = [entry for entry in ranking if entry["name"] != intent["name"]]
        message.set(INTENT, intent, add_to_output=True)
        message.set("intent_ranking", [intent, *others], add_to_output=True)
        if matter.also:
            further = [self._entity(topic, message, matter.confidence) for topic in matter.also]
            message.set(ENTITIES, [*message.get(ENTITIES, []), *further], add_to_output=True)

    def _entity(self, topic: str, message: Message, confidence: float) -> dict[str, Any]:
        return {
            "entity": TOPIC,
            "value": topic,
            "start": 0,
            "end": len(message.get(TEXT)),
            "confidence_entity": confidence,
            "extractor": type(self).__name__,
        }


def confidences(scores: np.ndarray, closeness: np.ndarray, weights: dict[str, float]) -> np.ndarray:
    """How likely the best label of each row is the right one, 0 to 1; rows as `Head` gives them."""
    rows = np.arange(len(scores))
    best = scores.argmax(axis=1)
    top = scores[rows, best]
    lead = top - np.partition(scores, -2, axis=1)[:, -2]
    sum_ = weights["bias"] + weights["score"] * top + weights["lead"] * lead
    return 1 / (1 + np.exp(-(sum_ + weights["closeness"] * closeness[rows, best])))
