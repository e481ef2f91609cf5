"""Which language a message is in: by its script, and within the Latin one by its words.

Rasa's process speaks what `READABLE` lists. To add a language, add its words to `data/`, its
variations to `domain.yml` (a condition on the slot `language`) and to `times.py`, then its code here.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import lru_cache

from py3langid.langid import MODEL_FILE, LanguageIdentifier
from spacy.lang.en.stop_words import STOP_WORDS

READABLE = frozenset({"en", "ko", "ja"})
OTHER = "other"

# Unicode names of letters begin with their script.
_SCRIPTS = {
    "LATIN": "en",
    "HANGUL": "ko",
    "HIRAGANA": "ja",
    "KATAKANA": "ja",
    "KATAKANA-HIRAGANA": "ja",
    "CJK": "han",
    "IDEOGRAPHIC": "han",
}
# Brands, sizes and e-mails are in Latin letters whatever the language: a letter of another script
# tells more.
_LATIN_LETTERS_FOR_ONE = 3
# An e-mail, a link or a code with digits is in no language.
_DETAIL = re.compile(r"[a-z\d._%+'-]+@[a-z\d.-]+|https?://[!-~]+|[#a-z\d-]*\d[a-z\d./-]*", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]+")

# Chinese in characters that Japanese has too: words that no Japanese message holds.
_CHINESE = re.compile(
    r"(?<![目体般])的|這|怎|呢|嗎|麼|沒|們|您|她|我(?!慢)|請問|謝謝|多少|什么|没有|訂單|退款|退貨|快遞|客服"
)

_SHORTEST = 3  # words; "merci", "hola" or a name alone tell nothing
# A message in Latin script isn't English if it is below both of these. They take 3 of 5,300 English
# messages (typos, fragments, Indian English) for foreign, and find 130 of 134 foreign sentences of four
# words or more in 19 languages; of 35 shop questions that they were not tuned on, 34.
_LEAST_LIKELY = 0.0001
_LEAST_KNOWN = 0.2  # the share of words that are plainly English
# English stop words that are everyday words of other languages too.
_SHARED = (
    "a all also am an and are as at be by ca do due even for go had have he her i in is me mine most my no "
    "of on once one or over per six so ten to under via was we will"
)
_CHATTED = (  # and what a chat with a shop adds
    "hi hello hey want need like got question order orders pls plz thx thanks yes ok u guys sir return label "
    "delivery available free stop month months times haven didn doesn isn don"
)
_KNOWN = STOP_WORDS.difference(_SHARED.split()).union(_CHATTED.split())


@lru_cache(maxsize=64)  # a turn is looked at several times in a row
def language_of(text: str, before: str | None = None) -> str:
    """`en`, `ko`, `ja` or `other`.

    `before` is the conversation's language so far: a text that tells none (a number, an e-mail, 👍,
    or one or two words such as "ok" or "PayPal?" amid Korean) stays in it. Without one it is English.
    """
    if before not in READABLE:
        before = "en"
    plain = _DETAIL.sub(" ", unicodedata.normalize("NFKC", text))
    scripts = Counter(_script(letter) for letter in plain if letter.isalpha())
    latin = scripts.pop("en", 0)
    if sum(scripts.values()) * _LATIN_LETTERS_FOR_ONE > latin:
        return _by_script(scripts, plain)
    words = _WORD.findall(plain.lower())
    if len(words) < _SHORTEST:
        return before
    return "en" if _is_english(" ".join(words)) else OTHER


def _by_script(scripts: Counter[str], text: str) -> str:
    """Han characters alone are Japanese (返品希望) unless they are plainly Chinese."""
    if scripts["ja"]:
        scripts["ja"] += scripts.pop("han", 0)
    language = scripts.most_common(1)[0][0]
    if language != "han":
        return language
    return OTHER if _CHINESE.search(text) or not _in_japanese_type(text) else "ja"


def _in_japanese_type(text: str) -> bool:
    """Whether Japan's character set (JIS X 0208) has all Han characters of a text."""
    han = "".join(letter for letter in text if _script(letter) == "han")
    try:
        han.encode("shift_jis")
    except UnicodeEncodeError:
        return False
    return True


def _is_english(words: str) -> bool:
    listed = words.split()
    known = sum(word in _KNOWN for word in listed) / len(listed)
    return known >= _LEAST_KNOWN or dict(_identifier().rank(words))["en"] >= _LEAST_LIKELY


@lru_cache(maxsize=1)
def _identifier() -> LanguageIdentifier:
    return LanguageIdentifier.from_pickled_model(MODEL_FILE, norm_probs=True)


def _script(letter: str) -> str:
    return _SCRIPTS.get(unicodedata.name(letter, "").partition(" ")[0], OTHER)
