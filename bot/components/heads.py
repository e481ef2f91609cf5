"""What the topic and the tone are judged by: lines between the labels, and the nearest examples.

A linear support vector machine draws the lines; alone, it is just as sure of what lies far from every
example, as long as it is on the right side: "when do classes start" looks like opening hours. How
close the nearest examples of a label are tells the two apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.sparse import csr_matrix, hstack
from sklearn.svm import LinearSVC

from bot.components.spelling import Spelled

# Of the sentence vector's 512. The examples hardly differ in the others (90 % of the variance is in
# these), and a message is compared with all examples in a quarter of the time.
DIRECTIONS = 192
_FEW = 8  # vectors up to which one product each takes less than all in one, which copies the examples first


@dataclass(frozen=True)
class Lines:
    """One line a label: all other labels are on its far side. Plain arrays, so that loading a model
    can't run code, as a pickle can."""

    labels: np.ndarray  # in alphabetical order
    meaning: np.ndarray  # weights of the sentence vector: one row a dimension, one column a label
    spelling: np.ndarray  # weights of the spelling's columns
    bias: np.ndarray

    @classmethod
    def fit(
        cls, vectors: np.ndarray, spelled: Spelled, labels: Sequence[str], strength: float, even: bool
    ) -> Lines:
        """Learns `labels`, two or more; `vectors` and `spelled` have one row an example.

        `even`: a label of few examples counts as much as one of many.
        """
        balance = "balanced" if even else None
        machine = LinearSVC(C=strength, class_weight=balance, tol=1e-2, max_iter=300, random_state=0)
        machine.fit(hstack([csr_matrix(vectors), spelled.matrix()], format="csr"), np.array(labels))
        weights, bias = machine.coef_.astype(np.float32), machine.intercept_.astype(np.float32)
        if len(machine.classes_) == 2:  # scikit-learn keeps only the second label's row
            weights, bias = np.vstack([-weights, weights]), np.hstack([-bias, bias])
        size = vectors.shape[1]
        meaning, spelling = (np.ascontiguousarray(part.T) for part in np.split(weights, [size], axis=1))
        return cls(machine.classes_, meaning, spelling, bias)

    def margins(self, vectors: np.ndarray, spelled: Spelled) -> np.ndarray:
        """One row a text, one column a label: on which side of the label's line it is, and how far."""
        return vectors @ self.meaning + spelled @ self.spelling + self.bias


@dataclass(frozen=True)
class Neighbours:
    """Every example, to be compared with."""

    directions: np.ndarray  # one column each: those in which the examples differ most
    examples: np.ndarray

    @classmethod
    def of(cls, vectors: np.ndarray) -> Neighbours:
        """Keeps the examples' sentence vectors, one row each."""
        _, vectors_of_scatter = np.linalg.eigh(vectors.T @ vectors)  # in ascending order
        directions = np.ascontiguousarray(vectors_of_scatter[:, ::-1][:, :DIRECTIONS], dtype=np.float32)
        return cls(directions, (vectors @ directions).astype(np.float32))

    def cosines(self, vectors: np.ndarray) -> np.ndarray:
        """One row a vector, one column an example; nearly -1 to 1."""
        turned = vectors @ self.directions
        if len(turned) > _FEW:
            return turned @ self.examples.T
        return np.stack([self.examples @ vector for vector in turned])


def groups_of(labels: np.ndarray) -> list[np.ndarray | slice]:
    """Where each label's examples are, the labels in alphabetical order; slices if they stand together."""
    names, starts = np.unique(labels, return_index=True)
    if np.all(labels[:-1] <= labels[1:]):
        return [slice(start, end) for start, end in pairwise((*starts, len(labels)))]
    return [np.flatnonzero(labels == name) for name in names]


def closeness(cosines: np.ndarray, groups: Sequence[np.ndarray | slice], nearest: int) -> np.ndarray:
    """One row a text, one column a group: the mean cosine, 0 to 1, to its `nearest` examples."""
    means = []
    for group in groups:
        of_group = cosines[:, group]
        kept = min(nearest, of_group.shape[1])
        means.append(np.partition(of_group, -kept, axis=1)[:, -kept:].sum(axis=1) / kept)
    return np.clip(np.stack(means, axis=1), 0.0, 1.0)
