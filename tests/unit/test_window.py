"""Who may answer a customer, and for how long."""

from datetime import timedelta

import pytest

from bot.domain.texts import split
from bot.domain.window import Phase, window
from bot.domain.words import Author, Channel
from tests.support import MONDAY_NOON as NOON


@pytest.mark.parametrize(
    ("hours", "phase", "ends_after"),
    [(0, Phase.OPEN, 24), (23.99, Phase.OPEN, 24), (24, Phase.PEOPLE, 168), (167.99, Phase.PEOPLE, 168)],
)
def test_anyone_answers_for_a_day_and_a_person_for_a_week(hours: float, phase: Phase, ends_after: int):
    found = window(Channel.MESSENGER, NOON, NOON + timedelta(hours=hours))
    assert (found.phase, found.until) == (phase, NOON + timedelta(hours=ends_after))
    assert found.admits(Author.AGENT)
    assert found.admits(Author.BOT) is (phase is Phase.OPEN)


def test_after_a_week_nobody_does():
    found = window(Channel.INSTAGRAM, NOON, NOON + timedelta(days=7))
    assert not found.admits(Author.AGENT)


def test_the_web_chat_takes_answers_at_any_time():
    assert window(Channel.WEB, NOON, NOON + timedelta(days=99)).admits(Author.BOT)


def test_an_instagram_message_is_measured_in_bytes():
    parts = split("한국어로 쓴 긴 답장입니다. " * 100, Channel.INSTAGRAM)
    assert all(0 < len(part.encode()) <= 1_000 for part in parts)
    assert " ".join(parts) == ("한국어로 쓴 긴 답장입니다. " * 100).strip()


def test_a_part_of_a_text_is_cut_the_same_again():
    text = "A sentence of some length. " * 200
    assert split(text, Channel.MESSENGER) == split(text, Channel.MESSENGER)
    assert split(text, Channel.WEB) == [text.strip()]
