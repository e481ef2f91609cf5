"""How a message is spelled: its words, its pairs of words and its runs of two to five letters.

They catch what the sentence encoder doesn't know (a shop's own words, brands, "COD"), and, since a
typo leaves most runs of letters as they were, what is misspelt. Features are hashed into a fixed
number of columns, so there is no vocabulary to keep: two that share a column by chance do no harm.

It could be scikit-learn's HashingVectorizer and TfidfTransformer, and gives what they would; but on
one message at a time their checks take ten times as long as the work.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.utils import murmurhash3_32

from bot.components.parts import MAX_CHARS

LETTER_COLUMNS, WORD_COLUMNS = 2**16, 2**15
# Against the sentence vector, which has length 1 as each of these two has before it is weighed.
LETTERS_WEIGHT, WORDS_WEIGHT = 1.0, 0.5

_RUNS = (2, 3, 4, 5)  # letters
_DIGITS = re.compile(r"\d+")
_WORD = re.compile(r"\b\w\w+\b")
_KNOWN_WORDS = 20_000  # whose columns are kept: most words of a message were in one before


@dataclass(frozen=True)
class Spelled:
    """Texts as a sparse matrix, one row each. SciPy's own weighs each row's arrays before it multiplies."""

    columns: np.ndarray
    values: np.ndarray
    ends: np.ndarray  # where each row ends; none is empty

    def __matmul__(self, weights: np.ndarray) -> np.ndarray:
        """One row a text."""
        rows = (slice(start, end) for start, end in pairwise((0, *self.ends)))
        return np.stack([self.values[row] @ weights[self.columns[row]] for row in rows])

    def __getitem__(self, rows: slice) -> Spelled:
        """The first so many rows."""
        ends = self.ends[rows]
        return Spelled(self.columns[: ends[-1]], self.values[: ends[-1]], ends)

    def matrix(self) -> csr_matrix:
        """For scikit-learn."""
        size = (len(self.ends), LETTER_COLUMNS + WORD_COLUMNS)
        return csr_matrix((self.values, self.columns, np.append(0, self.ends)), shape=size)


@dataclass(frozen=True)
class Spelling:
    """How rare each column is among the examples: what everybody writes tells little."""

    letters: np.ndarray
    words: np.ndarray

    @classmethod
    def of(cls, texts: Sequence[str]) -> Spelling:
        """Learns it from the examples: smoothed inverse document frequency."""
        counts = [_counts(text) for text in texts]
        rarities = []
        for part, size in enumerate((LETTER_COLUMNS, WORD_COLUMNS)):
            columns = np.concatenate([both[part][0] for both in counts])
            rarities.append(np.log((1 + len(texts)) / (1 + np.bincount(columns, minlength=size))) + 1)
        letters, words = (rarity.astype(np.float32) for rarity in rarities)
        return cls(letters, words)

    def features(self, texts: Sequence[str]) -> Spelled:
        """One row a text, the words' columns after the letters'."""
        rows = [self._row(text) for text in texts]
        columns, values = (np.concatenate(arrays) for arrays in zip(*rows, strict=True))
        return Spelled(columns, values, np.array(list(accumulate(len(row[0]) for row in rows))))

    def _row(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        letters, words = _counts(text)
        return (
            np.concatenate([letters[0], words[0] + LETTER_COLUMNS]),
            np.concatenate(
                [_weighed(*letters, self.letters, LETTERS_WEIGHT), _weighed(*words, self.words, WORDS_WEIGHT)]
            ),
        )


def _weighed(columns: np.ndarray, counts: np.ndarray, rarity: np.ndarray, weight: float) -> np.ndarray:
    """Sublinear tf-idf, of length `weight`."""
    values = (1 + np.log(counts)) * rarity[columns]
    length = np.sqrt(values @ values)
    return (values * (weight / length if length else 0.0)).astype(np.float32)


def _counts(text: str) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """The columns of a text's runs of letters and of its words, and how often each occurs."""
    plain = _DIGITS.sub("0", text[:MAX_CHARS].lower())
    runs = [_runs_of(word) for word in plain.split()]
    words = _WORD.findall(plain)
    alone_and_paired = [*words, *map(" ".join, pairwise(words))]
    letters = np.concatenate(runs) if runs else np.empty(0, np.int32)
    return _counted(letters), _counted(
        np.array([_hashed(w, WORD_COLUMNS) for w in alone_and_paired], np.int32)
    )


def _counted(columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.unique(columns, return_counts=True)


@lru_cache(maxsize=_KNOWN_WORDS)
def _runs_of(word: str) -> np.ndarray:
    """The columns of a word's runs of letters, its two edges being a space."""
    return np.array([_hashed(run, LETTER_COLUMNS) for run in _cut(f" {word} ")], np.int32)


def _cut(word: str) -> Iterator[str]:
    for length in _RUNS:
        yield from (word[start : start + length] for start in range(max(1, len(word) - length + 1)))
        if len(word) <= length:  # a short word counts once
            return


def _hashed(text: str, size: int) -> int:
    return abs(murmurhash3_32(text, seed=0)) % size
