"""The desk's words, one file for each language: `words/en.yml` and its siblings.

To add words: add a key to all files (a test names what one of them lacks), under an existing group or a
new one; templates read a group as `words.GROUP.key`, Python as `words(language)["GROUP"]["key"]`.
"""

from functools import cache
from pathlib import Path
from typing import Any

import yaml

from bot.domain.errors import ReplyTwiceError

HERE = Path(__file__).resolve().parent / "words"
LANGUAGES = {"en": "English", "ko": "한국어", "ja": "日本語"}


@cache
def words(language: str) -> dict[str, Any]:
    """Every word of one of `LANGUAGES`."""
    found: dict[str, Any] = yaml.safe_load((HERE / f"{language}.yml").read_text(encoding="utf-8"))
    return found


def chosen(wanted: str | None, accepted: str = "") -> str:
    """The language to show: the agent's own choice, else the first of ours in `Accept-Language`."""
    offers = [wanted or "", *(part.split(";")[0].strip()[:2].lower() for part in accepted.split(","))]
    return next((offer for offer in offers if offer in LANGUAGES), "en")


def said(error: ReplyTwiceError, language: str) -> str:
    """What went wrong, in a language of the desk; in English if that has no words for it."""
    template = words(language)["SAYS"].get(error.template)
    return str(template).format(**error.values) if template else str(error)
