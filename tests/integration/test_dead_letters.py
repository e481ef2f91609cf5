"""What didn't get through is shown at the desk, and a person decides what becomes of it."""

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from bot import turns
from bot.desk import agents, api, dead_letters
from bot.desk import conversations as desk
from bot.desk.wording import words
from bot.desk.words import LANGUAGES
from bot.domain.errors import Conflict, NotFound
from bot.domain.words import Channel, State, Status
from bot.store.care import AuditEntry
from bot.store.tables import Agent, Conversation, Message
from tests.meta import HANG_UP, OK, GraphServer
from tests.mortal import CUSTOMER, Walk
from tests.support import Server, Shop, wait_for


class Page(Walk):
    """A shop whose answer to a customer got lost on its way."""

    def __init__(self, url: str, folder: Path) -> None:
        self.mood = HANG_UP
        self.graph = GraphServer(lambda: self.mood)
        super().__init__(url, folder, self.graph.url)
        self.webhook_comes()
        self.filed()
        self.decided()
        self.delivered()
        self.mood = OK
        self.shop.agent("Anna")

    @property
    def answer(self) -> Message:
        return self.shop.messages(CUSTOMER)[-1]


@pytest.fixture
def page(migrated_url: str, tmp_path: Path) -> Iterator[Page]:
    page = Page(migrated_url, tmp_path)
    yield page
    page.shop.store.close()
    page.graph.close()


def test_an_unknown_delivery_is_shown_and_its_echo_takes_it_away(page: Page):
    with page.shop.store.read() as session:
        (shown,) = dead_letters.listed(session).as_json()["deliveries"]
    assert (shown["id"], shown["status"]) == (page.answer.public_id, "unknown")
    page.echoes_come(page.graph)
    page.filed()
    with page.shop.store.read() as session:
        assert dead_letters.listed(session).deliveries == []


def anna(session: Session, shop: Shop) -> Agent:
    return session.scalars(sa.select(Agent).where(Agent.name == "Anna")).one()


def trail(shop: Shop) -> list[str]:
    """What the audit trail says, the customer's conversation named and nothing that was said."""
    with shop.store.read() as session:
        found = session.scalars(sa.select(AuditEntry).order_by(AuditEntry.id)).all()
        assert {one.subject for one in found} == {f"#{session.scalar(sa.select(Conversation.id))}"}
    for language in LANGUAGES:
        assert all(one.what in words(language)["audit"]["words"] for one in found)
    assert not any("answer" in str(one.before) for one in found)
    return [one.what for one in found]


def test_a_person_may_have_it_sent_again_once(page: Page):
    with page.shop.store.unit_of_work() as session:
        dead_letters.send_again(session, page.answer.public_id, anna(session, page.shop), page.shop.now)
    with page.shop.store.unit_of_work() as session, pytest.raises(NotFound):  # a double click
        dead_letters.send_again(session, page.answer.public_id, anna(session, page.shop), page.shop.now)
    page.delivered()
    assert page.answer.status is Status.SENT
    assert len(page.graph.sent) == 2
    assert trail(page.shop) == ["letter_send_again"]


def test_but_not_where_the_bot_may_not_speak_any_more(page: Page):
    page.shop.takes("Anna", CUSTOMER)
    with page.shop.store.unit_of_work() as session, pytest.raises(Conflict):
        dead_letters.send_again(session, page.answer.public_id, anna(session, page.shop), page.shop.now)
    page.delivered()
    assert len(page.graph.sent) == 1


def test_or_let_it_go(page: Page):
    with page.shop.store.unit_of_work() as session:
        dead_letters.let_go(session, page.answer.public_id, anna(session, page.shop), page.shop.now)
    with page.shop.store.read() as session:
        assert dead_letters.listed(session).deliveries == []
    assert page.answer.status is Status.UNKNOWN  # still nobody knows
    assert trail(page.shop) == ["letter_let_go"]


def test_a_customer_whose_answer_may_be_lost_is_handed_to_a_person(page: Page):
    store = page.shop.store
    assert dead_letters.hand_over_unsettled(store, page.shop.now) == 0  # its echo may still come
    page.shop.now += timedelta(minutes=5)
    assert dead_letters.hand_over_unsettled(store, page.shop.now) == 1
    assert page.shop.reason(CUSTOMER) == "outage"
    assert dead_letters.hand_over_unsettled(store, page.shop.now) == 0


def test_who_gives_it_back_to_the_bot_is_not_handed_it_again(page: Page):
    page.shop.now += timedelta(minutes=5)
    dead_letters.hand_over_unsettled(page.shop.store, page.shop.now)
    page.shop.takes("Anna", CUSTOMER)
    page.shop.does("Anna", desk.give_back, CUSTOMER)
    page.shop.now += timedelta(minutes=5)
    assert dead_letters.hand_over_unsettled(page.shop.store, page.shop.now) == 0
    assert page.shop.state(CUSTOMER) is State.BOT


def test_but_the_next_answer_that_may_be_lost_is_a_persons_again(page: Page):
    page.shop.now += timedelta(minutes=5)
    dead_letters.hand_over_unsettled(page.shop.store, page.shop.now)
    page.shop.takes("Anna", CUSTOMER)
    page.shop.does("Anna", desk.give_back, CUSTOMER)
    page.mood = HANG_UP
    page.shop.writes("shipping_cost", CUSTOMER, channel=Channel.MESSENGER, account=page.answer.account)
    page.decided()
    page.delivered()
    page.shop.now += timedelta(minutes=5)
    assert dead_letters.hand_over_unsettled(page.shop.store, page.shop.now) == 1
    assert page.shop.reason(CUSTOMER) == "outage"


def test_a_turn_that_failed_again_and_again_may_be_tried_again(shop: Shop):
    shop.writes("return_policy")
    for _ in range(turns.TRIES + 1):
        shop.now += timedelta(seconds=90)
        turns.claim(shop.store, shop.settings, shop.now)
    with shop.store.read() as session:
        (turn,) = dead_letters.listed(session).turns
    assert turn.turn_error == "the worker died"
    shop.agent("Anna")
    with shop.store.unit_of_work() as session:
        dead_letters.decide_again(session, turn.id, anna(session, shop), shop.now)
    shop.work()
    assert shop.replies() == ["answer return_policy"]
    assert trail(shop) == ["letter_decide_again"]
    assert (shop.state(), shop.reason()) == (State.BOT, None)
    with shop.store.unit_of_work() as session, pytest.raises(NotFound):
        dead_letters.decide_again(session, turn.id, anna(session, shop), shop.now)


def test_it_can_be_done_at_the_desk(server: Server):
    visitor, anna = server.visitor(), server.agent("Anna")
    visitor.posts("return_policy")
    wait_for(lambda: visitor.texts("bot"))
    with server.services.store.unit_of_work() as session:
        session.execute(sa.text("UPDATE message SET status = 'failed', error = '551' WHERE author = 'bot'"))
    token = anna.headers["Authorization"].removeprefix("Bearer ")
    cookie = {"Cookie": f"{api.COOKIE}={token}"}
    shown = server.http.get("/desk/dead-letters", headers=cookie).text
    assert "answer return_policy" in shown
    form = re.search(r'action="(/desk/dead-letters/deliveries/[0-9a-f]{24}/let-go)"', shown)
    assert form
    assert server.http.post(form[1], headers=cookie).status_code == 403
    csrf = {"csrf": agents.csrf_token(token)}
    assert server.http.post(form[1], headers=cookie, data=csrf).status_code == 303
    assert "Everything got through" in server.http.get("/desk/dead-letters", headers=cookie).text
    assert server.http.post(form[1], headers=cookie, data=csrf).status_code == 409
    listed = server.http.get("/api/desk/dead-letters", headers=anna.headers).json()
    assert listed == {"deliveries": [], "turns": []}
    assert server.http.get("/api/desk/dead-letters").status_code == 401
