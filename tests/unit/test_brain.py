"""What the bot says by itself when Rasa can't be reached, and what it takes for an answer."""

from pathlib import Path
from typing import Any

import pytest

from bot.brain import Words, proposal_from
from bot.domain.errors import SettingError
from bot.domain.rule import Context
from bot.settings import ROOT


def test_an_outage_says_that_it_is_a_bot_what_happens_next_and_when():
    words = Words(ROOT / "domain.yml")
    text = words.outage(Context(opens_at="2026-11-23T09:00+00:00"), "en")
    assert "automated" in text
    assert "colleague" in text
    assert "on Monday at 9:00" in text
    assert "{" not in text


def test_it_says_only_once_that_it_is_a_bot():
    assert "automated" not in Words(ROOT / "domain.yml").outage(Context(disclosed=True), "en")


@pytest.mark.parametrize("text", ["", "responses: {}", "responses: [", "\t"])
def test_a_domain_without_the_words_is_refused_at_the_start(tmp_path: Path, text: str):
    (tmp_path / "domain.yml").write_text(text)
    with pytest.raises(SettingError, match=r"domain\.yml"):
        Words(tmp_path / "domain.yml")


ANSWER = {
    "action": "answer", "text": "30 days.", "topic": "return_policy", "reason": None, "detail": None,
    "confidence": 0.9, "language": "en", "buttons": [], "order_number": None, "email": None, "settled": False,
}  # fmt: skip


def test_an_answer_is_read():
    assert proposal_from(ANSWER).text == "30 days."


@pytest.mark.parametrize(
    "wrong",
    [
        {"action": "dance"},
        {"action": "look_up"},
        {"action": "hand_off"},  # without a reason nobody would know why
        {"action": None},
        {"text": None},
        {"text": 7},
        {"text": "a\0b"},
        {"text": "\ud800"},
        {"text": "x" * 8_001},
        {"topic": "weather"},
        {"order_number": 10023},
        {"order_number": "1" * 41},
        {"email": "x" * 321},
        {"buttons": None},
        {"buttons": [{}]},
        {"confidence": "sure"},
    ],
)
def test_nonsense_is_an_outage_and_never_reaches_the_database(wrong: dict[str, Any]):
    with pytest.raises((ValueError, TypeError, KeyError, AttributeError)):
        proposal_from(ANSWER | wrong)
