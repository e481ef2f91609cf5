"""What the topic and the tone are judged by: lines between the labels, and the nearest examples.

A linear support vector machine draws the lines; alone, it is just as sure of what lies far from every
example, as long as it is on the right side: "when do classes start" looks like opening hours. How
close the nearest examples of a label are tells the two apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import csr_matrix, hstack
from sklearn.svm import LinearSVC

from bot.components.spelling import Spelled

# Of the sentence vector's 512. The examples hardly differ in the others (90 % of the variance is in
# these), and a message is compared with all examples in a quarter of the time.
DIRECTIONS = 192
_FEW = 8  # vectors up to which one product each takes less than all in one, which copies the examples first
_STRUCK_OFF = -2.0  # less than any cosine


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
    examples: np.ndarray  # one column each: a product walks through memory once, from start to end

    @classmethod
    def of(cls, vectors: np.ndarray) -> Neighbours:
        """Keeps the examples' sentence vectors, given one row each."""
        _, vectors_of_scatter = np.linalg.eigh(vectors.T @ vectors)  # in ascending order
        directions = np.ascontiguousarray(vectors_of_scatter[:, ::-1][:, :DIRECTIONS], dtype=np.float32)
        return cls(directions, np.ascontiguousarray((vectors @ directions).T, dtype=np.float32))

    def cosines(self, vectors: np.ndarray) -> np.ndarray:
        """One row a vector, one column an example; nearly -1 to 1."""
        turned = vectors @ self.directions
        if len(turned) > _FEW:
            return turned @ self.examples
        return np.stack([vector @ self.examples for vector in turned])


@dataclass(frozen=True)
class Groups:
    """Where each label's examples are, the labels in alphabetical order."""

    starts: np.ndarray
    sizes: np.ndarray
    order: np.ndarray | None  # of the examples, so that a label's stand side by side; None: they do

    @classmethod
    def of(cls, labels: np.ndarray) -> Groups:
        """`labels` has one for each example."""
        _, starts, sizes = np.unique(np.sort(labels), return_index=True, return_counts=True)
        in_order = bool(np.all(labels[:-1] <= labels[1:]))
        return cls(starts, sizes, None if in_order else np.argsort(labels, kind="stable"))

    @cached_property
    def spans(self) -> list[slice]:
        """Of each label, in that order."""
        return [slice(start, start + size) for start, size in zip(self.starts, self.sizes, strict=True)]


def closeness(cosines: np.ndarray, groups: Groups, nearest: int) -> np.ndarray:
    """One row a text, one column a group: the mean cosine, 0 to 1, to its `nearest` examples.

    The nearest is found and struck off, then the next: far quicker than to sort.
    """
    left = cosines.copy() if groups.order is None else cosines[:, groups.order]
    total = np.maximum.reduceat(left, groups.starts, axis=1)
    for found in range(1, nearest):
        for row in left:
            row[[span.start + row[span].argmax() for span in groups.spans]] = _STRUCK_OFF
        best = np.maximum.reduceat(left, groups.starts, axis=1)
        total += np.where(groups.sizes > found, best, np.float32(0))
    means = total / np.minimum(groups.sizes, nearest, dtype=np.float32)
    return np.minimum(np.maximum(means, 0.0), 1.0)  # np.clip takes ten times as long on so few
