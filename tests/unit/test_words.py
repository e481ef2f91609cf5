"""The desk's words in its three languages."""

from pathlib import Path
from typing import Any

import pytest

from bot.desk.words import LANGUAGES, chosen, said, words
from bot.domain.errors import Conflict, Held
from bot.settings import ROOT


def keys(group: Any, path: str = "") -> set[str]:
    """The path of every word; a list counts by its length."""
    if isinstance(group, dict):
        return set().union(*(keys(value, f"{path}.{name}") for name, value in group.items()))
    return {f"{path}[{len(group)}]" if isinstance(group, list) else path}


@pytest.mark.parametrize("language", [code for code in LANGUAGES if code != "en"])
def test_every_language_has_every_word(language: str):
    english, other = ({k: v for k, v in words(code).items() if k != "SAYS"} for code in ("en", language))
    assert keys(other) == keys(english)


def test_every_error_that_has_words_in_one_language_has_them_in_the_other_and_is_raised_somewhere():
    assert keys(words("ko")["SAYS"]) == keys(words("ja")["SAYS"])
    code = "\n".join(path.read_text() for path in Path(ROOT, "bot").rglob("*.py"))
    assert [text for text in words("ko")["SAYS"] if text not in code] == []


def test_an_error_is_said_in_the_language_of_the_desk():
    error = Held("{who} has this conversation.", who="Anna")
    assert str(error) == "Anna has this conversation."
    assert said(error, "ja") == "Annaさんが担当しています。"
    assert said(Conflict("Nobody has translated this."), "ko") == "Nobody has translated this."


def test_the_desk_speaks_as_the_agent_chose_else_as_the_browser_asks():
    assert chosen("ko", "ja,en;q=0.8") == "ko"
    assert chosen(None, "fr-FR, ja;q=0.9") == "ja"
    assert chosen(None, "fr") == "en"
