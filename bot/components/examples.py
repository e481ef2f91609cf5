"""How close a message is to what anybody wrote for an intent.

Logistic regression is sure of what lies far from every example, as long as it lies on the right
side of the line: "when do classes start" looks like opening hours. Closeness tells the two apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rasa.shared.nlu.constants import TEXT
from rasa.shared.nlu.training_data.message import Message


@dataclass(frozen=True)
class Examples:
    """The sentence vectors to train on, in the order of their labels."""

    vectors: np.ndarray  # one row an example, of length 1
    starts: np.ndarray  # where each label's rows begin

    @classmethod
    def of(cls, messages: list[Message], labels: list[str]) -> Examples:
        """Keeps the vectors of `messages`."""
        order = np.argsort(np.array(labels), kind="stable")
        _, starts = np.unique(np.array(labels)[order], return_index=True)
        return cls(_vectors([messages[i] for i in order]), starts)

    def closeness(self, messages: list[Message]) -> np.ndarray:
        """One row a message, one column a label in alphabetical order: the cosine, 0 to 1, to the
        label's nearest example."""
        cosines = _vectors(messages) @ self.vectors.T
        return np.clip(np.maximum.reduceat(cosines, self.starts, axis=1), 0.0, 1.0)

    def save(self, folder: Path) -> None:
        """Writes the one file that `load` reads."""
        np.savez(folder / "examples.npz", vectors=self.vectors, starts=self.starts)

    @classmethod
    def load(cls, folder: Path) -> Examples:
        """Reads what `save` wrote."""
        with np.load(folder / "examples.npz", allow_pickle=False) as stored:
            return cls(stored["vectors"], stored["starts"])


def _vectors(messages: list[Message]) -> np.ndarray:
    return np.vstack([message.get_dense_features(TEXT)[1].features for message in messages])
