"""Whether a text mentions a phrase, in the languages that we read. Plain functions on plain data.

No patterns: a supervisor writes words, and finding them takes time in proportion to the text. English
stands for every language that puts spaces between words: there a phrase is whole words ("ship" isn't in
"relationship"), and one that ends with * is the beginning of a word ("deliver*"). Korean joins particles
to a word and Japanese writes without spaces, so there a phrase is found inside a word as well, however
it is spaced.
"""

import re
import unicodedata
from collections.abc import Collection, Iterable

LONGEST = 80  # characters of a phrase
MOST = 60  # phrases of one rule
_SPACELESS = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3"  # kana, Chinese characters, Hangul: for a pattern
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


def addressed(text: str, names: Collection[str]) -> set[str]:
    """Which of these names a text addresses with @, whatever their case; at each @ the longest.

    Korean and Japanese put particles right after a name, so a name doesn't go on over their letters.
    """
    longest_first = sorted({name.casefold() for name in names} - {""}, key=len, reverse=True)
    if not longest_first:
        return set()
    pattern = f"(?<![\\w@])@({'|'.join(map(_whole, longest_first))})"
    found = set(re.findall(pattern, text.casefold()))
    return {name for name in names if name.casefold() in found}


def _whole(name: str) -> str:
    """The pattern of a name that no longer word begins with, in languages that put spaces between words."""
    is_joined = re.match(f"[{_SPACELESS}]", name[-1])
    return re.escape(name) + ("" if is_joined else f"(?![^\\W{_SPACELESS}])")


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
