"""A supervisor's day in a real browser: rules, people, routing, promises, ratings, reports."""

import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
import sqlalchemy as sa
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect

from bot.desk import agents, audit
from bot.desk.boards.base import BOARDS
from bot.store.care import Promise
from bot.store.tables import Agent
from tests import history
from tests.support import Server

PASSWORD = "correct horse"


def account(server: Server, name: str, role: str) -> None:
    with server.services.store.unit_of_work() as session:
        agents.add_agent(
            session, f"{name.lower()}@shop.example", name, role, PASSWORD, server.services.clock()
        )


def enters(browser: Browser, server: Server, name: str, **more) -> Page:
    """A browser of their own, logged in at the desk."""
    page = browser.new_context(**{"locale": "en-GB", **more}).new_page()
    page.set_default_timeout(20_000)
    page.goto(server.url + "/desk")
    page.get_by_label(re.compile("E-mail")).fill(f"{name.lower()}@shop.example")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.locator("#queue")).to_be_visible()
    return page


@pytest.fixture
def robin(browser: Browser, server: Server) -> Iterator[Page]:
    account(server, "Robin", "supervisor")
    page = enters(browser, server, "Robin")
    yield page
    page.context.close()


def serious(page: Page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [f"{v['id']}: {v['nodes'][0]['html']}" for v in found if v["impact"] in ("serious", "critical")]


def test_from_a_rule_to_a_rating(server: Server, browser: Browser, robin: Page, context: BrowserContext):
    account(server, "Anna", "agent")
    robin.goto(server.url + "/desk/rules")
    robin.get_by_role("link", name="New rule").click()
    robin.get_by_label("Name", exact=True).fill("Shipping")
    robin.get_by_label(re.compile("mentions one of")).fill("shipping\n배송")
    robin.get_by_label(re.compile("put this tag on")).fill("Shipping")
    robin.get_by_label("Priority").select_option("High")
    robin.get_by_role("button", name="Try it").click()
    expect(robin.locator("#trial")).to_contain_text("held for 0 messages")
    robin.get_by_role("button", name="Put it live").click()
    expect(robin.locator("#done")).to_contain_text("live")
    robin.goto(server.url + "/desk/settings")
    robin.get_by_label("Routing").select_option("In turn")
    robin.get_by_role("button", name="Save Routing").click()
    expect(robin.locator("#done")).to_be_visible()

    anna = enters(browser, server, "Anna")
    expect(anna.get_by_role("link", name="Supervise")).to_have_count(0)
    anna.get_by_role("button", name=re.compile("I’m available")).click()
    expect(anna.locator("#presence .state-dot.on")).to_be_visible()

    chat = context.new_page()
    chat.goto(server.url)
    chat.get_by_role("button", name="Open chat", exact=True).click()
    chat.get_by_role("textbox", name="Your message").fill("ask_person about shipping")
    chat.keyboard.press("Enter")
    anna.get_by_role("link", name=re.compile("^Mine")).click()
    row = anna.locator("#rows a").first
    expect(row).to_contain_text("Shipping")
    expect(row).to_contain_text("High")
    expect(row).to_contain_text("First answer due", timeout=20_000)
    row.click()
    expect(anna.locator("#card-care")).to_contain_text("Shipping")
    anna.locator("#text").fill("It is free above 50.")
    anna.keyboard.press("Enter")
    expect(chat.locator(".message.agent")).to_contain_text("free above 50")
    expect(chat.locator(".rating")).to_have_count(0)
    anna.get_by_role("button", name="Resolve").click()

    question = chat.get_by_role("group", name="How was our help?")
    question.get_by_role("button", name="4 of 5").click()
    expect(question).to_contain_text("Thank you")
    question.get_by_role("textbox").fill("Quick and kind.")
    question.get_by_role("button", name="Send").click()
    expect(question.get_by_role("status")).to_contain_text("Thank you")
    assert serious(chat) == []
    chat.reload()
    expect(chat.get_by_role("button", name="4 of 5")).to_have_attribute("aria-pressed", "true")
    expect(chat.get_by_label("Anything you would like to add?")).to_have_value("Quick and kind.")
    expect(anna.locator("#card-care")).to_contain_text("4 of 5")

    robin.goto(server.url + "/desk/reports")
    expect(robin.locator("#figures")).to_contain_text("4.00")
    expect(robin.locator("#ratings")).to_contain_text("Quick and kind.")
    expect(robin.locator("#tags")).to_contain_text("Shipping")
    robin.goto(server.url + "/desk/audit")
    expect(robin.locator("#entries")).to_contain_text("Wrote a rule")
    anna.goto(server.url + "/desk/reports")
    expect(anna.get_by_role("heading", level=1)).to_contain_text("supervisors only")
    anna.context.close()


def test_an_agent_who_logs_out_leaves_a_chat_that_a_colleague_gets(
    server: Server, browser: Browser, robin: Page
):
    account(server, "Anna", "agent")
    anna = enters(browser, server, "Anna")
    visitor = server.visitor()
    visitor.posts("upset")
    anna.locator("#rows a").first.click()
    anna.get_by_role("button", name="Take").click()
    expect(anna.locator("#text")).to_be_visible()
    robin.get_by_role("link", name=re.compile("^Waiting")).click()
    expect(robin.locator("#rows-empty")).to_be_visible()
    anna.locator("#me summary").click()
    anna.get_by_role("button", name="Log out").click()
    expect(robin.locator("#rows a")).to_have_count(1)
    anna.context.close()


@pytest.mark.parametrize("look", ["wide", "narrow", "dark", "ja"])
def test_every_board_is_accessible_and_fits(server: Server, browser: Browser, robin: Page, look: str):
    history.write(server.services.store, 120, server.services.clock() - timedelta(days=20), 19)
    how = {
        "wide": {"viewport": {"width": 1280, "height": 800}},
        "narrow": {"viewport": {"width": 360, "height": 740}},
        "dark": {"color_scheme": "dark"},
        "ja": {"locale": "ja-JP", "viewport": {"width": 360, "height": 740}},
    }[look]
    page = browser.new_context(
        **{"locale": "en-GB", **how}, storage_state=robin.context.storage_state()
    ).new_page()
    for board in (*BOARDS, "rules/new"):
        page.goto(f"{server.url}/desk/{board}")
        assert serious(page) == [], board
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), board
        assert page.evaluate("document.documentElement.lang") == ("ja" if look == "ja" else "en")
        expect(page.locator(".boards [aria-current]")).to_be_in_viewport(ratio=0.95)
    page.context.close()


BROKEN = """(texts) => texts.flatMap((it) => {
  const walker = document.createTreeWalker(it, NodeFilter.SHOW_TEXT), broken = [];
  for (let node; (node = walker.nextNode());)
    for (const word of node.data.matchAll(/[\\w-]+/g)) {
      const range = document.createRange();
      range.setStart(node, word.index);
      range.setEnd(node, word.index + word[0].length);
      if (range.getClientRects().length > 1) broken.push(word[0]);
    }
  return broken;
})"""


def test_on_a_phone_no_word_is_broken_in_the_audit_trail_the_targets_or_a_hand_off(
    server: Server, browser: Browser, robin: Page
):
    with server.services.store.unit_of_work() as session:
        by = session.scalars(sa.select(Agent)).first()
        after = {"value": "https://shop.example/a/long/address/" + 20 * "x"}
        audit.note(
            session, by, "setting_change", "privacy_url", server.services.clock(), {"value": ""}, after
        )
    server.visitor().posts("upset")
    page = browser.new_context(
        locale="en-GB",
        viewport={"width": 390, "height": 844},
        storage_state=robin.context.storage_state(),
    ).new_page()
    page.goto(server.url + "/desk/audit")
    assert page.locator("#entries :is(th, td):not(:has(.values))").evaluate_all(BROKEN) == []
    page.goto(server.url + "/desk/promises")
    assert page.locator("#targets :is(th, td)").evaluate_all(BROKEN) == []
    page.goto(server.url + "/desk")
    page.locator("#rows a").first.click()
    expect(page.locator("#banner")).to_be_visible()
    assert page.locator("#banner dt").evaluate_all(BROKEN) == []
    page.context.close()


def test_a_board_is_worked_by_keyboard_alone(server: Server, robin: Page):
    robin.goto(server.url + "/desk/promises")
    robin.keyboard.press("Tab")
    expect(robin.get_by_role("link", name="Skip to the page")).to_be_focused()
    robin.keyboard.press("Enter")
    for _ in range(30):
        robin.keyboard.press("Tab")
        if robin.evaluate("document.activeElement.id") == "h-name":
            break
    robin.keyboard.type("Christmas")
    robin.locator("#h-day").fill("2026-12-25")
    robin.locator("#h-name").press("Enter")
    expect(robin.locator("#holidays + p + ul")).to_contain_text("Christmas")


def test_a_promise_is_counted_down_and_supervisors_see_it_close_to_late(
    server: Server, browser: Browser, robin: Page
):
    server.visitor().posts("upset")
    mark = robin.locator("#rows .due-mark").first
    expect(mark).to_contain_text(re.compile("First answer due"))
    robin.clock.install()
    robin.reload()
    expect(mark).to_contain_text(re.compile(r"left"))
    robin.clock.fast_forward(timedelta(days=4).total_seconds() * 1000)
    expect(mark).to_contain_text("late by")
    expect(mark).to_have_class(re.compile("breached"))
    with server.services.store.unit_of_work() as session:  # time passes on the server
        session.execute(sa.update(Promise).values(raise_at=server.services.clock() - timedelta(minutes=1)))
    expect(robin.locator("#risk")).to_contain_text("close to late: 1")
