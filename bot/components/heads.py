"""The classifier that the topic and the tone share: a linear one, and the nearest examples.

A linear support vector machine draws the lines between the labels; alone, it is just as sure of what
lies far from every example, as long as it is on the right side: "when do classes start" looks like
opening hours. How close the nearest examples of a label are tells the two apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix, hstack
from sklearn.svm import LinearSVC

from bot.components.spelling import Spelling

_FILE = "head.npz"


@dataclass(frozen=True)
class Head:
    """A trained classifier. Kept as plain arrays: loading them can't run code, as a pickle can."""

    labels: np.ndarray  # in alphabetical order
    meaning: np.ndarray  # weights of the sentence vector: one row a dimension, one column a label
    spelling: np.ndarray  # weights of the spelling's columns
    bias: np.ndarray
    letters: np.ndarray  # how rare a column is
    words: np.ndarray
    examples: np.ndarray  # sentence vectors in the order of their labels
    starts: np.ndarray  # where each label's examples begin

    @classmethod
    def fit(cls, texts: Sequence[str], vectors: np.ndarray, labels: Sequence[str], strength: float) -> Head:
        """Learns `labels`; `vectors` has one row of length 1 a text."""
        names = np.array(labels)
        spelling = Spelling.of(texts)
        machine = LinearSVC(C=strength, class_weight="balanced", tol=1e-3, max_iter=300, random_state=0)
        machine.fit(hstack([csr_matrix(vectors), spelling.features(texts)], format="csr"), names)
        weights, bias = machine.coef_.astype(np.float32), machine.intercept_.astype(np.float32)
        if len(machine.classes_) == 2:  # scikit-learn keeps only the second label's row
            weights, bias = np.vstack([-weights, weights]), np.hstack([-bias, bias])
        order = np.argsort(names, kind="stable")
        starts = np.unique(names[order], return_index=True)[1]
        size = vectors.shape[1]
        return cls(
            labels=machine.classes_,
            meaning=np.ascontiguousarray(weights[:, :size].T),
            spelling=np.ascontiguousarray(weights[:, size:].T),
            bias=bias,
            letters=spelling.letters,
            words=spelling.words,
            examples=vectors[order].astype(np.float32),
            starts=starts,
        )

    def closeness(self, vectors: np.ndarray, nearest: int) -> np.ndarray:
        """One row a vector, one column a label: the mean cosine, 0 to 1, to its `nearest` examples."""
        cosines = np.clip(vectors @ self.examples.T, 0.0, 1.0)
        columns = []
        for label in np.split(cosines, self.starts[1:], axis=1):
            kept = min(nearest, label.shape[1])
            columns.append(np.partition(label, -kept, axis=1)[:, -kept:].mean(axis=1))
        return np.stack(columns, axis=1)

    def margins(self, texts: Sequence[str], vectors: np.ndarray) -> np.ndarray:
        """One row a text, one column a label: on which side of the label's line it is, and how far."""
        spelled = Spelling(self.letters, self.words).features(texts)
        return vectors @ self.meaning + spelled @ self.spelling + self.bias

    def save(self, folder: Path) -> None:
        """Writes the one file that `load` reads."""
        np.savez_compressed(folder / _FILE, **asdict(self))

    @classmethod
    def load(cls, folder: Path) -> Head:
        """Reads what `save` wrote."""
        with np.load(folder / _FILE, allow_pickle=False) as stored:
            return cls(**{field.name: stored[field.name] for field in fields(cls)})
