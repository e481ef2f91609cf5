"""Which language a message is in, by its script.

Rasa's process speaks what `READABLE` lists. To add a language, add its words to `data/`, its
variations to `domain.yml` (a condition on the slot `language`), then its code here.
"""

import unicodedata
from collections import Counter

READABLE = frozenset({"en"})
OTHER = "other"

# Unicode names of letters begin with their script.
_SCRIPTS = {"LATIN": "en", "HANGUL": "ko", "HIRAGANA": "ja", "KATAKANA": "ja", "CJK": "han"}


def language_of(text: str) -> str:
    """`en`, `ko`, `ja` or `other`: the script that most letters have.

    Han characters alone don't tell Japanese from Chinese: with any kana they count as Japanese,
    else as `other`. A text without letters (a number, an emoji) counts as English.
    """
    scripts = Counter(_script(letter) for letter in text if letter.isalpha())
    if not scripts:
        return "en"
    if scripts["ja"]:
        scripts["ja"] += scripts.pop("han", 0)
    language = scripts.most_common(1)[0][0]
    return OTHER if language == "han" else language


def _script(letter: str) -> str:
    name = unicodedata.name(letter, "").removeprefix("FULLWIDTH ").removeprefix("HALFWIDTH ")
    return _SCRIPTS.get(name.partition(" ")[0], OTHER)
