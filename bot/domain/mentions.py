"""Whether a text mentions a phrase, in the languages that we read. Plain functions on plain data.

No patterns: a supervisor writes words, and finding them takes time in proportion to the text. English
stands for every language that puts spaces between words: there a phrase is whole words ("ship" isn't in
"relationship"), and one that ends with * is the beginning of a word ("deliver*"). Korean joins particles
to a word and Japanese writes without spaces, so there a phrase is found inside a word as well, however
it is spaced.
"""

import unicodedata
from collections.abc import Iterable

LONGEST = 80  # characters of a phrase
MOST = 60  # phrases of one rule
_JOINED = ("HANGUL", "CJK", "HIRAGANA", "KATAKANA")  # how Unicode begins the names of their letters


def normal(text: str) -> str:
    """A text as it is compared: one form of each letter, no case, single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def mentions(text: str, phrases: Iterable[str]) -> str | None:
    """The first of the phrases that a text mentions; None if it mentions none."""
    plain = normal(text)
    tight = plain.replace(" ", "")
    for phrase in phrases:
        wanted = normal(phrase)
        if wanted.strip("* ") and (
            wanted.strip("*").replace(" ", "") in tight if _is_joined(wanted) else _has_words(plain, wanted)
        ):
            return phrase
    return None


def _has_words(text: str, wanted: str) -> bool:
    """Whether whole words of a text are these; `wanted` may end with * for the beginning of one."""
    begins = wanted.endswith("*")
    wanted = wanted.strip("* ")
    at = text.find(wanted)
    while at >= 0:
        end = at + len(wanted)
        if not _is_inside(text, at) and (begins or not _is_inside(text, end)):
            return True
        at = text.find(wanted, at + 1)
    return False


def _is_inside(text: str, at: int) -> bool:
    """Whether a word goes on over this place. A Korean particle after an English word ends the word."""
    if not 0 < at < len(text):
        return False
    before, after = text[at - 1], text[at]
    return before.isalnum() and after.isalnum() and _is_joined(before) == _is_joined(after)


def _is_joined(text: str) -> bool:
    return any(unicodedata.name(letter, "").startswith(_JOINED) for letter in text)
