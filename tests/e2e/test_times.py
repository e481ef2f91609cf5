"""Times in the web chat: one notation in a language, whoever writes them."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from bot.components.times import spoken
from tests.support import Server

AT = "2026-11-23T{}"
NOTATION = {"en-US": r"\d\d?:\d\d", "ko-KR": r"오[전후] \d\d?시( \d\d?분)?", "ja-JP": r"\d\d?:\d\d"}


@pytest.fixture(params=NOTATION)
def chat(request: pytest.FixtureRequest, browser: Browser, server: Server) -> Iterator[Page]:
    context = browser.new_context(locale=request.param)
    page = context.new_page()
    page.set_default_timeout(20_000)
    page.goto(server.url)
    page.locator("reply-twice .launcher").click()
    yield page
    context.close()


def test_a_message_is_stamped_as_the_bot_tells_the_time(chat: Page):
    notation = NOTATION[chat.evaluate("navigator.language")]
    chat.locator("reply-twice #input").fill("return_policy")
    chat.keyboard.press("Enter")
    stamp = chat.locator("reply-twice time").first
    expect(stamp).to_have_text(re.compile(f"^{notation}$"))
    told = spoken(AT.format("14:05"), chat.evaluate("navigator.language.slice(0, 2)"))
    assert re.search(f"{notation}$", told or "")
