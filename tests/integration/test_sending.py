"""Sending over Meta's Graph under every fault: nothing twice, nothing lost, and whoever runs the shop is told."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from bot import delivery
from bot.channels.graph import CALL_SECONDS, ECHO_WAIT, Graph
from bot.desk import conversations as desk
from bot.desk import dead_letters
from bot.domain.errors import Conflict
from bot.domain.words import Author, State, Status
from bot.store import queries
from bot.store.engine import Store
from bot.store.tables import Part
from tests.meta import PAGE
from tests.meta_page import CUSTOMER, SETTINGS, Mock, Page, StandIn, echo, entry, error
from tests.support import Server, settings_for, wait_for

LONG = "A sentence of some length. " * 200  # three messages
OTHER = "6120394857203941"


@pytest.fixture
def page(embedded: Store, tmp_path: Path) -> Page:
    """A shop on the embedded database; where the database matters, a class asks for both kinds."""
    return Page(embedded, settings_for(tmp_path))


@pytest.fixture
def answered(page: Page) -> Page:
    """A shop whose Anna has just queued a long answer."""
    page.says("upset", "m_in")
    page.sends(StandIn(mid="m_before"))
    page.takes("Anna", CUSTOMER)
    page.answers("Anna", LONG, CUSTOMER)
    return page


class Died(BaseException):
    """The process is gone."""


class TestParts:
    """A long text is one reply in several messages, and no part is sent twice."""

    @pytest.fixture
    def page(self, store: Store, tmp_path: Path) -> Page:
        return Page(store, settings_for(tmp_path))

    def parts(self, page: Page) -> list[str]:
        with page.store.read() as session:
            return [part.external_id for part in session.query(Part).order_by(Part.number)]

    def test_each_part_keeps_its_own_external_id(self, answered: Page):
        graph = StandIn()
        answered.sends(graph)
        assert len(graph.texts) == 3
        assert " ".join(graph.texts).split() == LONG.split()
        assert self.parts(answered) == ["m_out_1", "m_out_2"]
        assert answered.messages(CUSTOMER)[-1].external_id == "m_out_3"
        assert answered.outbox()[-1] == (Author.AGENT, Status.SENT)

    def test_a_crash_between_parts_does_not_repeat_the_first(self, answered: Page):
        dying = StandIn(None, Died())
        with pytest.raises(Died):
            answered.sends(dying)
        delivery.release_all(answered.store, answered.now)
        assert answered.outbox()[-1] == (Author.AGENT, Status.UNKNOWN)  # the second may have been sent
        answered.now += delivery.HOLD_BACK
        graph = StandIn()
        answered.sends(graph)
        assert graph.sent == []
        answered.gets(dying.echo(1))
        answered.sends(graph)
        assert dying.texts + graph.texts == graph_texts(LONG)

    def test_a_crash_after_a_part_was_recorded_goes_on_behind_it(self, answered: Page):
        graph = StandIn()

        async def one_part() -> None:
            client = Graph(SETTINGS, Mock(graph))
            await delivery.deliver(answered.services, client)
            await client.close()

        asyncio.run(one_part())
        delivery.release_all(answered.store, answered.now)
        answered.sends(graph)
        assert graph.texts == graph_texts(LONG)

    def test_a_part_whose_answer_is_lost_is_settled_by_its_echo_and_the_rest_follows(self, answered: Page):
        graph = StandIn(None, httpx.ReadTimeout("slow"))
        answered.sends(graph)
        assert answered.outbox()[-1] == (Author.AGENT, Status.UNKNOWN)
        answered.gets(graph.echo(1))
        answered.gets(graph.echo(1), graph.echo(0))
        answered.sends(graph)
        assert graph.texts == graph_texts(LONG)
        assert answered.outbox()[-1] == (Author.AGENT, Status.SENT)

    def test_an_echo_faster_than_the_answer_changes_nothing(self, answered: Page):
        graph = StandIn()

        def slow(request: httpx.Request) -> httpx.Response:
            response = graph(request)
            answered.files(entry(graph.echo()))
            return response

        answered.sends(slow)
        assert graph.texts == graph_texts(LONG)
        assert answered.outbox()[-1] == (Author.AGENT, Status.SENT)

    @pytest.fixture
    def long(self, page: Page) -> Page:
        """A shop whose bot has just queued a long reply."""
        page.says("return_policy", "m_in")
        with page.store.unit_of_work() as session:
            session.get_one(delivery.Message, page.messages(CUSTOMER)[-1].id).text = LONG
        return page

    def takes_meanwhile(self, page: Page, graph: StandIn) -> Any:
        """Graph, while Anna takes the conversation: before it answers a send."""

        def taken(request: httpx.Request) -> httpx.Response:
            try:
                return graph(request)
            finally:
                page.takes("Anna", CUSTOMER)

        return taken

    def is_hers(self, page: Page, graph: StandIn) -> None:
        """Nothing more of the bot's goes out, and what Anna writes is not held up by it."""
        assert page.outbox() == [(Author.BOT, Status.FAILED)]
        assert page.messages(CUSTOMER)[-1].error == queries.TAKEN
        page.answers("Anna", "Hello, it's Anna.", CUSTOMER)
        page.sends(graph)
        page.does("Anna", desk.give_back, CUSTOMER)
        page.now += timedelta(hours=1)
        page.sends(graph)
        assert graph.texts == [graph_texts(LONG)[0], "Hello, it's Anna."]

    def test_a_person_who_takes_over_between_parts_stops_the_rest_and_is_heard(self, long: Page):
        graph = StandIn()
        long.sends(self.takes_meanwhile(long, graph))
        self.is_hers(long, graph)

    def test_so_too_where_the_parts_echo_is_faster_than_the_answer(self, long: Page):
        graph = StandIn()
        takes = self.takes_meanwhile(long, graph)

        def slow(request: httpx.Request) -> httpx.Response:
            response: httpx.Response = takes(request)
            long.files(entry(graph.echo()))
            return response

        long.sends(slow)
        self.is_hers(long, graph)

    def test_so_too_where_the_parts_answer_is_lost_and_its_echo_comes(self, long: Page):
        graph = StandIn(httpx.ReadTimeout("slow"))
        long.sends(self.takes_meanwhile(long, graph))
        assert long.outbox() == [(Author.BOT, Status.UNKNOWN)]
        long.gets(graph.echo())
        self.is_hers(long, graph)

    def test_so_too_where_graph_says_that_the_second_part_was_not_sent(self, long: Page):
        graph = StandIn(None, error(2, status=503))

        def second(request: httpx.Request) -> httpx.Response:
            response = graph(request)
            if len(graph.sent) == 2:
                long.takes("Anna", CUSTOMER)
            return response

        long.sends(second)
        assert long.messages(CUSTOMER)[-1].error == queries.TAKEN


def graph_texts(text: str) -> list[str]:
    from bot.domain.texts import split
    from bot.domain.words import Channel

    return split(text, Channel.MESSENGER)


class TestFaults:
    """A fault of Graph's costs time, never a message and never a second one."""

    @pytest.mark.parametrize(
        "fault",
        [
            httpx.ReadTimeout("accepted, then silence"),
            httpx.RemoteProtocolError("hung up"),
            httpx.Response(200, content=b"\xff\xfe garbage"),
            httpx.Response(200, json={"recipient_id": CUSTOMER}),
            httpx.Response(200, json=[1]),
            httpx.Response(200, content=b""),
            error(2, status=200),
            httpx.ReadError("broken in the middle of the answer"),
            httpx.WriteError("broken in the middle of the request"),
            httpx.Response(500),
            httpx.Response(502, content=b"<html>Bad Gateway"),
            httpx.Response(503, json={}),
            httpx.Response(504),
            error(1, status=500),
            error(9_999, status=503),
        ],
    )
    def test_an_answer_that_says_nothing_is_settled_by_the_echo_alone(self, page: Page, fault: Any):
        page.says("return_policy", "m_in")
        graph = StandIn(fault)
        page.sends(graph)
        page.now += timedelta(hours=2)
        page.sends(graph)
        assert page.outbox() == [(Author.BOT, Status.UNKNOWN)]
        page.gets(graph.echo())
        assert page.outbox() == [(Author.BOT, Status.SENT)]
        assert len(graph.sent) == 1

    @pytest.mark.parametrize("refusal", [error(2, status=503), error(1200), error(9_999)])
    def test_what_graph_says_it_did_not_send_is_tried_again_once_an_echo_had_its_time(
        self, page: Page, refusal: httpx.Response
    ):
        if refusal.json()["error"]["code"] == 9_999:
            refusal = httpx.Response(400, json={"error": {"code": 9_999, "is_transient": True}})
        page.says("return_policy", "m_in")
        graph = StandIn(refusal)
        page.sends(graph)
        page.now += ECHO_WAIT - timedelta(seconds=1)
        page.sends(graph)
        assert len(graph.sent) == 1
        page.now += timedelta(seconds=1)
        page.sends(graph)
        assert len(graph.sent) == 2
        assert page.outbox() == [(Author.BOT, Status.SENT)]

    @pytest.mark.parametrize("names_it", [True, False])
    def test_unless_its_echo_says_that_it_was_sent_after_all(self, page: Page, names_it: bool):
        page.says("return_policy", "m_in")
        graph = StandIn(error(2, status=500))  # in truth Meta took it
        page.sends(graph)
        told = graph.echo()
        if not names_it:  # as on Instagram
            told["message"] = {k: v for k, v in told["message"].items() if k not in ("metadata", "app_id")}
        page.gets(told)
        page.now += timedelta(minutes=5)
        page.sends(graph)
        assert len(graph.sent) == 1
        assert page.outbox() == [(Author.BOT, Status.SENT)]
        assert page.state(CUSTOMER) is State.BOT

    def test_while_graph_is_ill_few_messages_become_unknown_and_the_rest_are_kept(self, page: Page):
        for number in range(12):
            page.says("return_policy", f"m_{number}", sender=f"71000000{number}")
        ill = StandIn(*[httpx.Response(503)] * 99)
        page.sends(ill)
        page.now += timedelta(seconds=2)
        page.sends(ill)
        page.now += timedelta(seconds=2)
        page.sends(ill)
        assert len(ill.sent) == 3
        well = StandIn()
        for _ in range(6):
            page.now += timedelta(seconds=10)
            page.sends(well)
        assert len(well.sent) == 9
        statuses = [page.outbox(f"71000000{number}")[0][1] for number in range(12)]
        assert (statuses.count(Status.UNKNOWN), statuses.count(Status.SENT)) == (3, 9)
        assert page.alerts() == []

    def test_one_customers_unknown_send_holds_up_nobody_else(self, page: Page):
        page.says("return_policy", "m_1")
        page.says("return_policy", "m_2", sender=OTHER)
        graph = StandIn(httpx.ReadTimeout("slow"))
        page.sends(graph)
        assert len(graph.sent) == 2
        assert page.outbox(OTHER) == [(Author.BOT, Status.SENT)]

    def test_the_same_id_for_two_messages_is_Graphs_fault_and_not_ours(self, page: Page):
        page.says("return_policy", "m_1")
        page.says("return_policy", "m_2", sender=OTHER)
        same = {"recipient_id": CUSTOMER, "message_id": "m_same"}
        page.sends(StandIn(httpx.Response(200, json=same), httpx.Response(200, json=same)))
        assert page.outbox() + page.outbox(OTHER) == [(Author.BOT, Status.SENT)] * 2

    def test_an_answer_that_drips_for_ever_is_given_up(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("bot.channels.graph.CALL_SECONDS", 0.1)
        assert delivery.PATIENCE.total_seconds() / 2 > CALL_SECONDS  # a take and two sends fit well within

        async def drip(_request: httpx.Request) -> httpx.Response:
            await asyncio.sleep(60)
            return httpx.Response(200)

        async def send() -> Any:
            graph = Graph(SETTINGS, Mock(drip))
            try:
                return await graph.send(PAGE, CUSTOMER, "hi", "id", [])
            finally:
                await graph.close()

        assert asyncio.run(send()).outcome == "unknown"

    def test_what_the_bot_could_not_say_is_a_persons(self, page: Page):
        page.says("return_policy", "m_in")
        page.sends(StandIn(error(551, 1545041)))
        assert (page.state(CUSTOMER), page.reason(CUSTOMER)) == (State.WAITING, "outage")
        assert page.outbox() == [(Author.BOT, Status.FAILED)]

    def test_a_graph_that_stays_down_ends_with_a_person(self, page: Page):
        page.says("return_policy", "m_in")
        for _ in range(delivery.GIVE_UP):
            page.sends(StandIn(error(2, status=503)))
            page.now += timedelta(minutes=5)
        assert page.outbox() == [(Author.BOT, Status.FAILED)]
        assert page.reason(CUSTOMER) == "outage"

    def test_what_a_person_sends_again_is_not_given_up_at_the_first_fault(self, page: Page):
        page.says("upset", "m_in")
        page.sends(StandIn(mid="m_before"))
        page.takes("Anna", CUSTOMER)
        answer = page.answers("Anna", "Hello", CUSTOMER).public_id

        def tries(count: int) -> Status:
            for _ in range(count):
                page.sends(StandIn(error(2, status=503)))
                page.now += timedelta(minutes=6)
            return page.messages(CUSTOMER)[-1].status

        assert tries(delivery.GIVE_UP) is Status.FAILED
        anna = page.agent("Anna")
        with page.store.unit_of_work() as session:
            dead_letters.send_again(session, answer, session.merge(anna), page.now)
        assert tries(delivery.GIVE_UP - 2) is Status.QUEUED
        page.sends(StandIn())
        assert page.outbox()[-1] == (Author.AGENT, Status.SENT)


class TestAccounts:
    """What is the matter with one Page stops that Page alone, keeps its queue, and is told."""

    @pytest.fixture
    def page(self, store: Store, tmp_path: Path) -> Page:
        return Page(store, settings_for(tmp_path))

    def test_throttling_pauses_the_page_twice_as_long_each_time(self, page: Page):
        page.says("return_policy", "m_1")
        page.says("return_policy", "m_2", sender=OTHER)
        graph = StandIn(error(613), error(4))
        page.sends(graph)
        assert len(graph.sent) == 1
        page.now += timedelta(seconds=2)
        page.sends(graph)
        assert len(graph.sent) == 2
        page.now += timedelta(seconds=2)
        page.sends(graph)
        assert len(graph.sent) == 2
        page.now += timedelta(seconds=2)
        page.sends(graph)
        assert page.outbox() + page.outbox(OTHER) == [(Author.BOT, Status.SENT)] * 2
        assert page.alerts() == []

    def test_graph_may_say_how_long_the_pause_is(self, page: Page):
        page.says("return_policy", "m_1")
        graph = StandIn(httpx.Response(429, headers={"retry-after": "90"}))
        page.sends(graph)
        page.now += timedelta(seconds=89)
        page.sends(graph)
        assert len(graph.sent) == 1
        page.now += timedelta(seconds=1)
        page.sends(graph)
        assert page.outbox() == [(Author.BOT, Status.SENT)]

    def test_throttling_for_hours_loses_nothing(self, page: Page):
        page.says("return_policy", "m_1")
        for _ in range(12):
            page.sends(StandIn(error(613)))
            page.now += timedelta(minutes=6)
        page.sends(StandIn())
        assert page.outbox() == [(Author.BOT, Status.SENT)]

    @pytest.mark.parametrize("refusal", [error(190), error(190, 463, 401), httpx.Response(401)])
    def test_a_broken_token_keeps_the_queue_until_it_is_mended(self, page: Page, refusal: httpx.Response):
        page.says("return_policy", "m_1")
        page.says("return_policy", "m_2", sender=OTHER)
        page.sends(StandIn(refusal))
        assert page.alerts() == ["token"]
        for _ in range(3):  # one message a minute asks whether the token works again
            page.now += timedelta(minutes=1)
            probe = StandIn(refusal)
            page.sends(probe)
            assert len(probe.sent) == 1
        page.now += timedelta(minutes=1)
        graph = StandIn()
        page.sends(graph)
        page.now += timedelta(minutes=1)
        page.sends(graph)
        assert sorted(body["recipient"]["id"] for body in graph.sent) == sorted([CUSTOMER, OTHER])
        assert page.alerts() == []

    def test_another_page_is_sent_to_meanwhile(self, page: Page):
        page.says("return_policy", "m_1")
        page.sends(StandIn(error(190)))
        entry = {"id": "200", "messaging": [{"sender": {"id": OTHER}, "recipient": {"id": "200"}, "message": {"mid": "m_2", "text": "invoice"}}]}  # fmt: skip
        page.receives({"object": "page", "entry": [entry]})
        graph = StandIn()
        page.sends(graph)
        assert graph.texts == ["answer invoice"]
        assert page.alerts() == ["token"]

    def test_a_missing_token_is_told_at_the_desk_and_on_the_health_page(self, tmp_path: Path):
        settings = settings_for(tmp_path, BURST_SECONDS="0.1", MESSENGER_APP_SECRET="app secret")
        with Server(settings) as server:
            page = Page(server.services.store, settings)
            page.now = server.services.clock()
            page.says("return_policy", "m_1")
            wait_for(lambda: server.http.get("/readyz").json()["accounts_in_trouble"] == {PAGE: "no_token"})
            assert server.http.get("/readyz").status_code == 200
            anna = server.agent("Anna")
            login = {"email": "anna@shop.example", "password": "correct horse"}
            server.http.post("/desk/login", data=login)
            html = server.http.get("/desk").text
            assert "MESSENGER_PAGE_TOKEN" in html
            assert "1 kept" in html
            assert anna.queue("bot")

    def test_a_bot_reply_kept_beyond_the_window_is_not_sent_but_a_persons(self, page: Page):
        page.says("return_policy", "m_1")
        page.sends(StandIn(error(190)))
        page.now += timedelta(hours=24)
        graph = StandIn()
        page.sends(graph)
        assert graph.sent == []
        assert page.outbox() == [(Author.BOT, Status.FAILED)]
        assert page.reason(CUSTOMER) == "outage"


class TestWindow:
    """24 hours for anyone, seven days for a person; the desk refuses what Meta would refuse."""

    def test_a_person_answers_late_with_the_tag(self, page: Page):
        page.says("upset", "m_in")
        page.sends(StandIn())
        page.takes("Anna", CUSTOMER)
        page.now += timedelta(days=6)
        page.answers("Anna", "Sorry for the wait.", CUSTOMER)
        graph = StandIn()
        page.sends(graph)
        assert graph.sent[0]["messaging_type"] == "MESSAGE_TAG"
        assert graph.sent[0]["tag"] == "HUMAN_AGENT"

    def test_after_seven_days_the_desk_says_that_it_is_too_late(self, page: Page):
        page.says("upset", "m_in")
        page.takes("Anna", CUSTOMER)
        page.now += timedelta(days=7)
        with pytest.raises(Conflict, match="7 days"):
            page.answers("Anna", "Sorry for the wait.", CUSTOMER)
        page.does("Anna", desk.note, CUSTOMER, client_id="n", text="Too late; call them.")
        page.says("hello?", "m_2")
        page.answers("Anna", "There you are!", CUSTOMER)

    def test_what_meta_refuses_as_too_late_closes_the_window_at_the_desk(self, page: Page):
        page.says("upset", "m_in")
        page.sends(StandIn())
        page.takes("Anna", CUSTOMER)
        page.answers("Anna", "Hello", CUSTOMER)
        page.sends(StandIn(error(10, 2018278)))
        assert page.outbox()[-1] == (Author.AGENT, Status.FAILED)
        page.answers("Anna", "Hello again", CUSTOMER)
        graph = StandIn(error(10, 2018278))
        page.sends(graph)
        assert graph.sent[0]["tag"] == "HUMAN_AGENT"
        with pytest.raises(Conflict):
            page.answers("Anna", "Hello?", CUSTOMER)

    def test_a_clock_that_is_weeks_off_does_not_close_the_window(self, page: Page):
        page.gets({"sender": {"id": CUSTOMER}, "recipient": {"id": PAGE}, "timestamp": 1, "message": {"mid": "m_1", "text": "invoice"}})  # fmt: skip
        graph = StandIn()
        page.sends(graph)
        assert graph.texts == ["answer invoice"]


class TestThreads:
    """A thread that another app has is not spoken into; an agent at the desk takes it first."""

    def test_the_bot_falls_silent_when_it_does_not_own_the_thread(self, page: Page):
        page.says("return_policy", "m_1")
        page.sends(StandIn(error(10, 2018300)))
        assert page.outbox() == [(Author.BOT, Status.FAILED)]
        assert page.state(CUSTOMER) is State.AGENT
        page.says("invoice", "m_2")
        assert len(page.replies(CUSTOMER)) == 1

    def test_an_agents_answer_takes_the_thread_and_is_sent_once(self, page: Page):
        page.gets(echo("Hi, Anna here.", "m_1", 263902037430900))
        page.takes("Ben", CUSTOMER)
        page.answers("Ben", "Ben here.", CUSTOMER)
        graph = StandIn(error(10, 2018300))
        page.sends(graph)
        assert graph.taken == [CUSTOMER]
        assert graph.texts == ["Ben here.", "Ben here."]
        assert page.outbox()[-1] == (Author.AGENT, Status.SENT)

    def test_an_agents_answer_waits_while_the_thread_cannot_be_taken(self, page: Page):
        page.gets(echo("Hi, Anna here.", "m_1", 263902037430900))
        page.takes("Ben", CUSTOMER)
        page.answers("Ben", "Ben here.", CUSTOMER)
        graph = StandIn(error(10, 2018300), error(10, 2018300))

        def cannot_take(request: httpx.Request) -> httpx.Response:
            graph_says = graph(request)
            return httpx.Response(503) if request.url.path.endswith("take_thread_control") else graph_says

        page.sends(cannot_take)
        assert page.outbox()[-1] == (Author.AGENT, Status.QUEUED)
        page.now += timedelta(minutes=1)
        page.sends(graph)
        assert page.outbox()[-1] == (Author.AGENT, Status.SENT)

    def test_an_agents_answer_that_meta_still_refuses_says_why(self, page: Page):
        page.gets(echo("Hi, Anna here.", "m_1", 263902037430900))
        page.takes("Ben", CUSTOMER)
        page.answers("Ben", "Ben here.", CUSTOMER)
        page.sends(StandIn(error(10, 2018300), error(10, 2018300)))
        assert "another app has this chat" in (page.messages(CUSTOMER)[-1].error or "")


def test_the_echo_of_another_page_of_the_same_app_settles_nothing(page: Page):
    page.says("return_policy", "m_in")
    graph = StandIn(httpx.ReadTimeout("slow"))
    page.sends(graph)
    foreign = graph.echo() | {"sender": {"id": "200"}}
    page.receives({"object": "page", "entry": [{"id": "200", "messaging": [foreign]}]})
    assert page.outbox() == [(Author.BOT, Status.UNKNOWN)]
