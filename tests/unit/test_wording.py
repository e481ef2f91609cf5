"""Every language has every word, and every word keeps its places for numbers and names."""

import re
from pathlib import Path
from typing import Any

import pytest

from bot.desk.wording import said, words
from bot.desk.words import LANGUAGES

DESK = Path(__file__).resolve().parents[2] / "bot"
PLACE = re.compile(r"%(?:%|[ds])|\{\w+\}")
RAISED = re.compile(r'raise (?:BadInput|Conflict|NotFound)\(\s*"([^"]+)"')
OURS = ("rules", "teams", "people", "promises", "care", "boards/people", "boards/promises")


def leaves(tree: Any, path: str = "") -> dict[str, str]:
    if isinstance(tree, dict):
        pairs = [(f"{path}.{key}", value) for key, value in tree.items()]
    elif isinstance(tree, list):
        pairs = [(f"{path}.{number}", value) for number, value in enumerate(tree)]
    else:
        return {path: tree}
    return {key: leaf for name, value in pairs for key, leaf in leaves(value, name).items()}


def shown(language: str) -> dict[str, str]:
    return {path: word for path, word in leaves(words(language)).items() if not path.startswith(".errors")}


@pytest.mark.parametrize("language", [one for one in LANGUAGES if one != "en"])
def test_every_word_is_there_with_its_places(language: str):
    english, other = shown("en"), shown(language)
    assert english.keys() == other.keys()
    for path, word in english.items():
        assert isinstance(other[path], str), path
        assert other[path].strip(), path
        assert PLACE.findall(other[path]) == PLACE.findall(word), path


@pytest.mark.parametrize("language", [one for one in LANGUAGES if one != "en"])
def test_every_sentence_that_a_form_can_be_refused_with_is_there(language: str):
    files = [DESK / "runtime.py", *(DESK / "desk" / f"{name}.py" for name in OURS)]
    sentences = {found for file in files for found in RAISED.findall(file.read_text(encoding="utf-8"))}
    assert len(sentences) > 30
    assert [one for one in sentences if said(language, one) == one] == []
