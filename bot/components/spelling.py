"""How a message is spelled: its words, its pairs of words and its runs of two to five letters.

They catch what the sentence encoder doesn't know (a shop's own words, brands, "COD"), and, since a
typo leaves most runs of letters as they were, what is misspelt. Features are hashed into a fixed
number of columns, so there is no vocabulary to keep: two that share a column by chance do no harm.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix, hstack
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

from bot.components.parts import MAX_CHARS

LETTER_COLUMNS, WORD_COLUMNS = 2**16, 2**15
# Against the sentence vector, which has length 1 as each of these two has before it is weighed.
LETTERS_WEIGHT, WORDS_WEIGHT = 1.0, 0.5

_DIGITS = re.compile(r"\d+")
_COUNTED = {"alternate_sign": False, "norm": None, "dtype": np.float32}
_LETTERS = HashingVectorizer(analyzer="char_wb", ngram_range=(2, 5), n_features=LETTER_COLUMNS, **_COUNTED)
_WORDS = HashingVectorizer(ngram_range=(1, 2), n_features=WORD_COLUMNS, **_COUNTED)


@dataclass(frozen=True)
class Spelling:
    """How rare each column is among the examples: what everybody writes tells little."""

    letters: np.ndarray
    words: np.ndarray

    @classmethod
    def of(cls, texts: Sequence[str]) -> Spelling:
        """Learns it from the examples."""
        counts = _counts(texts)
        letters, words = (TfidfTransformer().fit(part).idf_.astype(np.float32) for part in counts)
        return cls(letters, words)

    def features(self, texts: Sequence[str]) -> csr_matrix:
        """One row a text."""
        letters, words = _counts(texts)
        return hstack(
            [_weighed(letters, self.letters, LETTERS_WEIGHT), _weighed(words, self.words, WORDS_WEIGHT)],
            format="csr",
        )


def _counts(texts: Sequence[str]) -> tuple[csr_matrix, csr_matrix]:
    plain = [_DIGITS.sub("0", text[:MAX_CHARS].lower()) for text in texts]
    return _LETTERS.transform(plain), _WORDS.transform(plain)


def _weighed(counts: csr_matrix, rarity: np.ndarray, weight: float) -> csr_matrix:
    """Sublinear tf-idf, each row of length `weight`."""
    data = (1 + np.log(counts.data)) * rarity[counts.indices]
    rows = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
    lengths = np.sqrt(np.bincount(rows, data**2, minlength=counts.shape[0]))
    data *= weight / lengths[rows]
    return csr_matrix((data.astype(np.float32), counts.indices, counts.indptr), shape=counts.shape)
