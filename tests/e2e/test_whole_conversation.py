"""The promise of the product, in a real browser, with the real model behind it."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.e2e.conftest import Product


class Chat:
    """The web chat on the shop's page, as a customer uses it."""

    def __init__(self, context: BrowserContext, product: Product) -> None:
        self.page = context.new_page()
        self.page.goto(product.url)
        self.open()

    def open(self) -> None:
        self.page.get_by_role("button", name="Open chat", exact=True).click()
        expect(self.page.get_by_role("textbox", name="Your message")).to_be_focused()

    def writes(self, text: str) -> None:
        self.page.get_by_role("textbox", name="Your message").fill(text)
        self.page.keyboard.press("Enter")

    def said(self, author: str) -> "list[str]":
        return self.page.locator(f".message.{author} .bubble").all_inner_texts()

    def waits_for(self, author: str, text: str | re.Pattern[str]) -> None:
        shown = self.page.locator(f".message.{author}").filter(has_text=text)
        expect(shown).to_be_visible(timeout=20_000)


def log_in(page: Page, product: Product, login: tuple[str, str]) -> None:
    page.goto(product.url + "/desk")
    page.get_by_label("E-mail").fill(login[0])
    page.get_by_label("Password").fill(login[1])
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("navigation", name="Views")).to_be_visible()


def serious(page: Page) -> list[str]:
    """What axe finds on a page that keeps somebody from using it."""
    found = Axe().run(page).response["violations"]
    return [f"{v['id']}: {v['nodes'][0]['html']}" for v in found if v["impact"] in ("serious", "critical")]


@pytest.fixture(scope="package")
def login(product: Product) -> tuple[str, str]:
    return product.supervisor()


def test_a_customer_is_answered_gets_upset_and_a_person_takes_over(
    product: Product, browser: Browser, context: BrowserContext, login: tuple[str, str]
):
    chat = Chat(context, product)
    chat.writes("where is my order?")
    chat.waits_for("bot", "automated assistant")
    chat.waits_for("bot", re.compile("order number.*e-mail"))
    chat.writes("10023, mina@example.com")
    chat.waits_for("bot", "JD014600010023")
    chat.waits_for("bot", "colleague")
    chat.writes("that's the third time it is late, I am so angry with you!!!")
    expect(chat.page.locator(".state")).to_contain_text("colleague")

    at_desk = browser.new_context(locale="en-GB")
    desk = at_desk.new_page()
    log_in(desk, product, login)
    row = desk.locator("#rows a", has_text="angry with you")
    expect(row).to_contain_text("Upset")
    row.click()
    expect(desk.locator("#banner")).to_contain_text("Upset or in trouble")
    expect(desk.locator("#card-orders")).to_contain_text("Wool blanket, grey")
    desk.get_by_role("button", name="Take").click()
    expect(chat.page.locator(".state")).to_contain_text("Robin")
    desk.get_by_label(re.compile("^Answer or note")).fill("I'm so sorry, Mina. I've called the carrier.")
    desk.keyboard.press("Enter")
    chat.waits_for("agent", "I'm so sorry, Mina.")

    chat.writes("how do returns work?")
    expect(desk.locator("#messages")).to_contain_text("how do returns work?")
    desk.get_by_label(re.compile("^Answer or note")).fill("Just send it back within 30 days.")
    desk.keyboard.press("Enter")
    chat.waits_for("agent", "Just send it back")
    assert len(chat.said("bot")) == 2

    chat.page.reload()
    chat.waits_for("agent", "Just send it back")
    assert len(chat.said("customer")) == 4
    desk.get_by_role("button", name="Resolve").click()
    expect(chat.page.locator(".state")).to_contain_text("closed")
    at_desk.close()


def test_a_message_written_without_a_network_arrives_once_when_it_is_back(
    product: Product, context: BrowserContext
):
    chat = Chat(context, product)
    chat.writes("what are your opening hours?")
    chat.waits_for("bot", "automated assistant")
    context.set_offline(True)
    chat.writes("and do you ship to Korea?")
    expect(chat.page.locator(".meta", has_text="Not sent")).to_be_visible()
    context.set_offline(False)
    expect(chat.page.locator(".message.bot")).to_have_count(2)
    chat.page.reload()
    expect(chat.page.locator(".message.customer")).to_have_count(2)
    expect(chat.page.locator(".message.bot")).to_have_count(2)


def test_text_is_only_ever_text(
    product: Product, browser: Browser, context: BrowserContext, login: tuple[str, str]
):
    attack = '<img src=x onerror="document.title=1"><script>document.title=1</script>{{7*7}}'
    chat = Chat(context, product)
    chat.writes(f"I want to talk to a human {attack}")
    chat.waits_for("bot", "automated assistant")
    chat.waits_for("customer", attack)
    at_desk = browser.new_context(locale="en-GB")
    desk = at_desk.new_page()
    log_in(desk, product, login)
    desk.locator("#rows a", has_text="talk to a human").last.click()
    expect(desk.locator("#messages")).to_contain_text(attack)
    assert chat.page.title() != "1"
    assert desk.title() != "1"
    at_desk.close()


def test_two_agents_race_and_the_second_is_told_who_was_first(
    product: Product, browser: Browser, context: BrowserContext, login: tuple[str, str]
):
    chat = Chat(context, product)
    chat.writes("let me speak to a real person about my racing bike cover")
    chat.waits_for("bot", "automated assistant")
    pages = [
        browser.new_context(locale="en-GB", java_script_enabled=scripts).new_page()
        for scripts in (True, False)
    ]
    product.add_agent("ben@example.com", "Ben", "correct horse")
    for page, who in zip(pages, (login, ("ben@example.com", "correct horse")), strict=True):
        log_in(page, product, who)
        page.locator("#rows a", has_text="racing bike").click()
    pages[0].get_by_role("button", name="Take").click()
    expect(pages[0].get_by_role("button", name="Resolve")).to_be_visible()
    pages[1].get_by_role(
        "button", name="Take"
    ).click()  # without scripts: the page is as old as its last load
    expect(pages[1].get_by_role("alert")).to_contain_text("Robin has this conversation.")
    for page in pages:
        page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_nobody_is_kept_from_using_it(
    product: Product, browser: Browser, login: tuple[str, str], scheme: str, width: int
):
    context = browser.new_context(
        locale="en-GB", color_scheme=scheme, viewport={"width": width, "height": 800}
    )
    chat = Chat(context, product)
    chat.writes("can I pay with PayPal?")
    chat.waits_for("bot", "PayPal")
    assert serious(chat.page) == []
    desk = context.new_page()
    desk.goto(product.url + "/desk")
    assert serious(desk) == []
    log_in(desk, product, login)
    desk.get_by_role("link", name="All").click()
    assert serious(desk) == []
    desk.locator("#rows a", has_text="PayPal").first.click()
    expect(desk.locator("#messages")).to_contain_text("PayPal")
    assert serious(desk) == []
    context.close()
