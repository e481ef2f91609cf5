"""What the bot says by itself when Rasa can't be reached."""

from pathlib import Path

import pytest

from bot.brain import Words
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
