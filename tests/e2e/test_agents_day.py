"""An agent's day at the desk, in real browsers: two agents and a customer at once."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from bot.desk.words import LANGUAGES, words
from tests.e2e.test_whole_conversation import serious
from tests.support import Server, Visitor, settings_for, wait_for


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Server]:
    """The bot process with the plain brain behind it: here the desk is what is looked at."""
    with Server(settings_for(tmp_path, BURST_SECONDS="0.1", OPENING_HOURS="Mon-Sun 00:00-23:59")) as server:
        for name, role in (("Anna", "agent"), ("Ben", "supervisor")):
            server.agent(name, role)
        yield server


@pytest.fixture
def desks(browser: Browser, shop: Server) -> Iterator["Desks"]:
    desks = Desks(browser, shop)
    yield desks
    for page in desks.pages:
        page.context.close()


class Desks:
    """Opens the desk for agents, each in a browser of their own; no page may have a script error."""

    def __init__(self, browser: Browser, shop: Server) -> None:
        self._browser, self._shop = browser, shop
        self.pages: list[Page] = []

    def of(self, name: str, **more: object) -> Page:
        context = self._browser.new_context(**{"locale": "en-GB", **more})  # type: ignore[arg-type]
        context.set_default_timeout(20_000)
        page = context.new_page()
        page.on("pageerror", lambda error: pytest.fail(str(error)))
        page.goto(self._shop.url + "/desk")
        page.fill("#email", f"{name.lower()}@shop.example")
        page.fill("#password", "correct horse")
        page.press("#password", "Enter")
        expect(page.locator("html.scripted-page")).to_be_attached()
        self.pages.append(page)
        return page


def waits(shop: Server, text: str) -> Visitor:
    """A customer whom the bot has handed over."""
    visitor = shop.visitor()
    visitor.posts(text)
    wait_for(lambda: visitor.state() == "waiting")
    return visitor


def opened(page: Page, text: str, view: str = "all") -> None:
    page.click(f"#view-{view}")
    expect(page.locator(f"#view-{view}")).to_have_attribute("aria-current", "page")
    page.locator("#rows a", has_text=text).click()
    expect(page.locator("#messages")).to_contain_text(text)


def test_an_agents_day_by_keys_alone(shop: Server, desks: Desks):
    mina = waits(shop, "upset the lamp is broken")
    anna = desks.of("Anna")
    expect(anna.locator("#rows a.unread")).to_have_count(1)
    anna.keyboard.press("j")
    anna.keyboard.press("Enter")
    expect(anna.locator("#banner")).to_contain_text("Upset or in trouble")
    expect(anna.locator("#rows a.unread")).to_have_count(0)
    anna.keyboard.press("t")
    expect(anna.locator("#text")).to_be_focused()
    anna.keyboard.type("I'm sorry about the lamp.")
    anna.keyboard.press("Enter")
    wait_for(lambda: mina.texts("agent") == ["I'm sorry about the lamp."])
    anna.keyboard.press("Escape")

    anna.keyboard.press("n")
    anna.keyboard.type("A regular. @Ben, do we have another lamp?")
    anna.keyboard.press("Enter")
    expect(anna.locator(".message.note")).to_contain_text("A regular.")
    assert "A regular." not in str(mina.history())
    anna.keyboard.press("Escape")

    anna.keyboard.press("s")
    expect(anna.locator("#form-snooze")).to_be_visible()
    anna.fill("#snooze-why", "Ben looks for a lamp")
    anna.keyboard.press("Enter")
    expect(anna.locator("#view-snoozed")).to_contain_text("1")
    expect(anna.locator("#messages")).to_contain_text("Ben looks for a lamp")
    mina.posts("hello?")
    expect(anna.locator("#view-snoozed")).to_have_count(0)

    anna.locator("#thread").focus()
    anna.keyboard.press("e")
    expect(anna.locator(".state")).to_have_text("Closed")
    anna.keyboard.press("z")
    expect(anna.locator(".state")).to_have_text("You have it")

    anna.keyboard.press("Control+k")
    expect(anna.locator("#palette-text")).to_be_focused()
    anna.keyboard.type("resol")
    anna.keyboard.press("Enter")
    expect(anna.locator(".state")).to_have_text("Closed")
    assert mina.state() == "closed"

    ben = desks.of("Ben")
    ben.click("#view-mentions")
    expect(ben.locator("#view-mentions")).to_have_attribute("aria-current", "page")
    expect(ben.locator("#rows a")).to_have_count(1)


def test_two_agents_and_one_chat(shop: Server, desks: Desks):
    mina = waits(shop, "upset about the blanket")
    anna, ben = desks.of("Anna"), desks.of("Ben")
    opened(anna, "blanket")
    opened(ben, "blanket")
    expect(anna.locator("#others")).to_contain_text("Ben looks at this, too")
    anna.click("#do-take")
    expect(ben.locator("#locked")).to_contain_text("Anna has this conversation.")
    anna.locator("#text").fill("Half an ans")
    expect(ben.locator("#others")).to_contain_text("Anna is writing")

    ben.click("#open-take-over")
    expect(ben.locator("#form-take-over")).to_contain_text("may be writing")
    ben.click("#do-take-over")
    expect(ben.locator(".state")).to_have_text("You have it")
    expect(anna.locator("#locked")).to_contain_text("Ben has this conversation.")
    expect(anna.locator("#messages")).to_contain_text("Ben took it over from Anna")
    ben.locator("#text").fill("Ben here.")
    ben.keyboard.press("Enter")
    wait_for(lambda: mina.texts("agent") == ["Ben here."])

    ben.click("#open-hand")
    ben.fill("#hand-note", "She wrote to you first.")
    ben.click("#do-hand")
    expect(anna.locator(".state")).to_have_text("You have it")
    expect(anna.locator("#messages")).to_contain_text("She wrote to you first.")
    expect(anna.locator("#text")).to_have_value("Half an ans")  # the draft is still there


def test_a_draft_survives_another_chat_and_a_reload(shop: Server, desks: Desks):
    waits(shop, "upset one")
    waits(shop, "upset two")
    anna = desks.of("Anna")
    opened(anna, "upset one")
    anna.click("#do-take")
    anna.locator("#text").fill("not sent yet")
    opened(anna, "upset two")
    expect(anna.locator("#text")).to_have_value("")
    expect(anna.locator("#rows .draft")).to_have_count(1)
    opened(anna, "upset one")
    expect(anna.locator("#text")).to_have_value("not sent yet")
    anna.reload()
    expect(anna.locator("#text")).to_have_value("not sent yet")


def test_a_row_does_not_jump_from_under_the_pointer(shop: Server, desks: Desks):
    waits(shop, "upset first")
    waits(shop, "upset second")
    anna = desks.of("Anna")
    anna.click("#view-all")
    expect(anna.locator("#view-all")).to_have_attribute("aria-current", "page")
    expect(anna.locator("#rows .due-mark")).to_have_count(2)  # each has said all that it has to say
    row = anna.locator("#rows a", has_text="upset first")
    row.hover()
    before = row.bounding_box()
    waits(shop, "upset third")
    expect(anna.locator("#held")).to_be_visible()
    assert row.bounding_box() == before
    anna.mouse.move(700, 400)
    expect(anna.locator("#rows a")).to_have_count(3)
    expect(anna.locator("#held")).to_be_hidden()


def test_a_suggestion_is_inserted_by_one_key_and_sent_by_nobody_but_the_agent(shop: Server, desks: Desks):
    mina = waits(shop, "upset return_policy")
    anna = desks.of("Anna")
    anna.goto(shop.url + "/desk/replies")
    anna.get_by_label(re.compile("What it is for")).first.fill("upset return policy")
    anna.get_by_label("English").first.fill("Hello {name}, {agent} here. Just send it back to us.")
    anna.get_by_role("button", name="Save", exact=True).first.click()
    expect(anna.locator("li", has_text="Just send it back")).to_be_visible()
    anna.goto(shop.url + "/desk")
    opened(anna, "return_policy")
    anna.click("#do-take")
    expect(anna.locator("#assist")).to_contain_text("About returns")
    expect(anna.locator("#assist")).to_contain_text("Anna here.")
    number = anna.locator("#assist button", has_text="Anna here.").locator("kbd").inner_text()
    anna.locator("#text").focus()
    anna.keyboard.press(f"Alt+{number}")
    expect(anna.locator("#text")).to_have_value("Hello {name}, Anna here. Just send it back to us.")
    expect(anna.locator("#warnings")).to_contain_text("{name} isn’t filled in yet.")
    assert mina.texts("agent") == []


def test_a_canned_answer_to_an_upset_customer_is_warned_of(shop: Server, desks: Desks):
    waits(shop, "upset order_status")
    anna = desks.of("Anna")
    opened(anna, "upset")
    anna.click("#do-take")
    anna.locator("#text").fill("We apologize for any inconvenience.")
    expect(anna.locator("#warnings")).to_contain_text("is what everybody says")
    anna.click("#voice-open")
    expect(anna.locator("#voice")).to_contain_text("neighbour")


def test_search_and_filters_apply_as_they_are_chosen(shop: Server, desks: Desks):
    waits(shop, "upset about the 파란 담요")
    waits(shop, "ask_person about pillows")
    anna = desks.of("Anna")
    anna.keyboard.press("/")
    anna.keyboard.type("담요")
    expect(anna.locator("#rows a")).to_have_count(1)
    expect(anna.locator("#q")).to_be_focused()
    anna.click("#unfilter")
    expect(anna.locator("#rows a")).to_have_count(2)
    anna.click("#filters summary")
    anna.get_by_label("Reason").focus()
    anna.get_by_label("Reason").select_option("asked")
    expect(anna.locator("#rows a")).to_have_count(1)
    expect(anna.locator("#rows a")).to_contain_text("pillows")
    expect(anna.locator("#view-waiting .count")).to_have_text("1")
    expect(anna.get_by_label("Reason")).to_be_focused()


def test_who_asked_for_it_is_notified_of_who_writes_but_never_of_what(shop: Server, desks: Desks):
    anna = desks.of("Anna", permissions=["notifications"])
    anna.evaluate(
        "() => { window.told = []; window.Notification = class { static permission = 'granted';"
        " static requestPermission = async () => 'granted'; constructor(text) { window.told.push(text); } } }"
    )
    waits(shop, "upset before it was asked for")
    expect(anna.locator("#rows a")).to_have_count(1)
    assert anna.evaluate("window.told") == []
    anna.click("#me summary")
    anna.check("#notify")
    waits(shop, "upset about a secret")
    wait_for(lambda: "Visitor 2" in str(anna.evaluate("window.told")))
    assert all(
        re.fullmatch(r"New message from (Visitor \d(, )?)+", told) for told in anna.evaluate("window.told")
    )


def test_one_customer_on_two_channels_is_made_one_and_undone(shop: Server, desks: Desks):
    waits(shop, "upset one")
    waits(shop, "upset two")
    with shop.services.store.unit_of_work() as session:
        from bot.store.tables import Contact, Conversation

        session.get_one(Contact, 2).name = "Mina Park"
        from bot.desk import conversations

        conversations.resolve(session, 2, session.get_one(conversations.Agent, 1), shop.services.clock())
        assert session.get_one(Conversation, 2).state.value == "closed"
    anna = desks.of("Anna")
    opened(anna, "upset one")
    anna.click("#to-merge")
    anna.get_by_role("searchbox").fill("mina")
    anna.keyboard.press("Enter")
    anna.get_by_role("button", name="Yes, merge").click()
    expect(anna.locator("#card-contact")).to_contain_text("Mina Park")
    expect(anna.locator("#card-channels li")).to_have_count(2)
    anna.get_by_role("button", name="Undo").click()
    expect(anna.locator("#card-channels li")).to_have_count(1)
    expect(anna.locator("#card-contact")).to_contain_text("Visitor 1")


@pytest.mark.parametrize("language", list(LANGUAGES))
def test_the_desk_speaks_the_agents_language(shop: Server, desks: Desks, language: str):
    waits(shop, "upset")
    anna = desks.of("Anna")
    anna.click("#me summary")
    anna.locator("#language").select_option(language)
    anna.locator("#me form button").first.click()
    expect(anna.locator("html")).to_have_attribute("lang", language)
    expect(anna.locator("#view-waiting")).to_contain_text(words(language)["VIEWS"]["waiting"])
    opened(anna, "upset", "waiting")
    expect(anna.locator("#do-take")).to_have_text(words(language)["T"]["take"])


@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_on_any_page_of_the_desk(
    shop: Server, desks: Desks, width: int, scheme: str
):
    waits(shop, "upset about the blanket")
    anna = desks.of("Anna", viewport={"width": width, "height": 800}, color_scheme=scheme)
    anna.click("#filters summary")
    assert serious(anna) == []
    opened(anna, "blanket", "waiting")
    anna.click("#do-take")
    expect(anna.locator("#assist")).to_be_attached()
    for summary in ("#open-snooze", "#open-hand"):
        anna.click(summary)
        assert serious(anna) == []
    anna.keyboard.press("Escape")
    anna.keyboard.press("Control+k")
    assert serious(anna) == []
    for path in ("/desk/replies", "/desk/contacts/1/merge?from=1&q=a", "/desk/dead-letters"):
        anna.goto(shop.url + path)
        assert serious(anna) == []
