"""Logistic regression over the features of a message, shared by the topic and the tone."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rasa.shared.nlu.constants import TEXT
from rasa.shared.nlu.training_data.message import Message
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

# The sentence vector has length 1 and so has each row of n-gram counts. This weighs the two: meaning
# leads, spelling decides between near neighbours and catches shop words the encoder doesn't know.
NGRAM_WEIGHT = 0.6
STEPS = 100


@dataclass(frozen=True)
class Head:
    """A trained classifier. Kept as plain arrays: loading them can't run code, as a pickle can."""

    labels: tuple[str, ...]
    weights: np.ndarray  # one row a label
    bias: np.ndarray

    @classmethod
    def fit(cls, messages: list[Message], labels: list[str], strength: float) -> Head:
        """Learns `labels` of `messages`; a larger `strength` follows the examples more closely."""
        # A hundred steps: more take minutes and no longer change which label wins.
        model = LogisticRegression(C=strength, max_iter=STEPS, tol=1e-2, class_weight="balanced")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(features_of(messages), labels)
        weights, bias = model.coef_, model.intercept_
        if len(model.classes_) == 2:  # scikit-learn keeps only the second label's row
            weights, bias = np.vstack([np.zeros_like(weights), weights]), np.array([0.0, bias[0]])
        return cls(tuple(model.classes_), weights.astype(np.float32), bias.astype(np.float32))

    def probabilities(self, messages: list[Message]) -> np.ndarray:
        """One row a message, one column a label; each row adds up to 1."""
        scores = features_of(messages) @ self.weights.T + self.bias
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        return scores / scores.sum(axis=1, keepdims=True)

    def save(self, folder: Path) -> None:
        """Writes the one file that `load` reads."""
        np.savez_compressed(
            folder / "head.npz", labels=np.array(self.labels), weights=self.weights, bias=self.bias
        )

    @classmethod
    def load(cls, folder: Path) -> Head:
        """Reads what `save` wrote."""
        with np.load(folder / "head.npz", allow_pickle=False) as stored:
            return cls(tuple(map(str, stored["labels"])), stored["weights"], stored["bias"])


def features_of(messages: list[Message]) -> np.ndarray:
    """One row a message: its sentence vector, then its n-grams."""
    return np.vstack([_row(message) for message in messages])


def _row(message: Message) -> np.ndarray:
    """Raises ValueError when a featurizer is missing from `config.yml`."""
    _, meaning = message.get_dense_features(TEXT)
    _, spelling = message.get_sparse_features(TEXT)
    if meaning is None or spelling is None:
        raise ValueError("The pipeline in config.yml needs the sentence and the n-gram featurizer.")
    counts = spelling.features.toarray().astype(np.float32)
    ngrams = counts * (NGRAM_WEIGHT / max(1.0, float(np.linalg.norm(counts))))
    return np.hstack([meaning.features.astype(np.float32), ngrams])
