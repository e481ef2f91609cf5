"""A rating after a conversation: whom the customer is asked, once, and how it may be changed."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from bot import accounts, feedback, ratings
from bot.channels.graph import Graph
from bot.channels.messenger import parse
from bot.desk import care
from bot.desk import conversations as desk
from bot.domain.errors import BadInput, Conflict, NotFound
from bot.domain.words import Author, Button, Channel, State, Status
from bot.filing import Kind
from bot.store.care import Rating, RatingRequest
from bot.store.tables import Conversation, Message
from tests.meta_page import Mock
from tests.support import Server, Shop, wait_for

PAGE = "10000000000001"


def is_asked(shop: Shop, who: str = "mina", enabled: bool = True) -> bool:
    with shop.store.read() as session:
        return ratings.may_ask(
            session, session.get_one(type(shop.conversation(who)), shop.conversation(who).id), enabled
        )


def rates(shop: Shop, score: int, comment: str = "", who: str = "mina") -> Rating:
    with shop.store.unit_of_work() as session:
        return ratings.rate(session, shop.conversation(who).id, score, comment, True, shop.now)


def resolved(shop: Shop, text: str = "ask_person", who: str = "mina", **more: Any) -> None:
    shop.hears(text, who, **more)
    shop.takes("Anna", who)
    shop.answers("Anna", "Done.", who)
    shop.does("Anna", desk.resolve, who)


def test_a_customer_who_was_helped_is_asked(shop: Shop):
    resolved(shop)
    assert is_asked(shop)
    shop.hears("return_policy", "other")
    assert not is_asked(shop, "other")  # still open
    shop.hears("That helps", "other", button=Button.SETTLED.value)
    assert is_asked(shop, "other")
    assert not is_asked(shop, "other", enabled=False)


def test_nobody_is_asked_after_silence_anger_or_without_an_answer(shop: Shop):
    shop.hears("return_policy", "silent")
    shop.now += timedelta(hours=25)
    shop.writes("ack", "silent")
    resolved(shop, "upset", "angry")
    shop.hears("ask_person", "unanswered")
    shop.takes("Anna", "unanswered")
    shop.does("Anna", desk.resolve, "unanswered")
    old = shop.conversations("silent")[0]
    with shop.store.read() as session:
        assert not ratings.may_ask(session, session.get_one(type(old), old.id), True)
    assert not is_asked(shop, "angry")
    assert not is_asked(shop, "unanswered")


def test_an_agent_may_ask_for_one_all_the_same_but_not_before_the_end(shop: Shop):
    shop.hears("upset")
    shop.takes("Anna")
    shop.answers("Anna", "So sorry.")
    with pytest.raises(Conflict):
        asks(shop)
    shop.does("Anna", desk.resolve)
    asks(shop)
    assert is_asked(shop, enabled=False)


def test_a_rating_is_stored_once_and_may_be_changed_for_a_day(shop: Shop):
    resolved(shop)
    rates(shop, 2, " slow ")
    shop.now += timedelta(hours=23)
    rates(shop, 4, "better than I thought")
    rates(shop, 4, "better than I thought")
    shop.now += timedelta(hours=2)
    with pytest.raises(Conflict):
        rates(shop, 1)
    rates(shop, 4, "better than I thought")  # the same again is no change
    with shop.store.read() as session:
        (found,) = session.scalars(sa.select(Rating)).all()
    assert (found.score, found.comment) == (4, "better than I thought")


@pytest.mark.parametrize(("score", "comment"), [(0, ""), (6, ""), (3, "x" * 1_001)])
def test_a_rating_that_is_none_is_refused(shop: Shop, score: int, comment: str):
    resolved(shop)
    with pytest.raises(BadInput):
        rates(shop, score, comment)


def test_nothing_that_was_not_asked_for_is_rated(shop: Shop):
    shop.hears("return_policy")
    with pytest.raises(NotFound):
        rates(shop, 5)


def test_over_the_web_chat_it_is_part_of_the_page_and_no_message(server: Server):
    visitor, anna = server.visitor(), server.agent("Anna")
    assert (
        visitor.http.post("/api/chat/rating", json={"score": 5}, headers=visitor.headers).status_code == 404
    )
    visitor.posts("ask_person")
    (row,) = wait_for(anna.queue)
    anna.does("take", row["id"])
    anna.writes("messages", row["id"], "Done.")
    anna.does("resolve", row["id"])
    status = visitor.history()["status"]
    assert (status["state"], status["rating"]["score"], status["rating"]["open"]) == ("closed", None, True)
    before = len(visitor.history()["messages"])
    done = visitor.http.post(
        "/api/chat/rating", json={"score": 5, "comment": "Kind!"}, headers=visitor.headers
    )
    assert done.json()["rating"]["score"] == 5
    assert visitor.history()["status"]["rating"]["comment"] == "Kind!"
    assert len(visitor.history()["messages"]) == before
    for bad in ({"score": 9}, {"score": "x"}, {}, {"score": 3, "comment": "a\0b"}):
        assert visitor.http.post("/api/chat/rating", json=bad, headers=visitor.headers).status_code == 422
    stranger = server.visitor()
    assert (
        stranger.http.post("/api/chat/rating", json={"score": 1}, headers=stranger.headers).status_code == 404
    )


def asked_on_messenger(
    shop: Shop, answer: httpx.Response | None = None, after: timedelta = desk.UNDO
) -> list[dict[str, Any]]:
    """What Meta is sent when the shop asks some time later; `PAGE`'s token is set."""
    import json

    shop.now += after
    sent: list[dict[str, Any]] = []

    def meta(request: httpx.Request) -> httpx.Response:
        sent.append(json.loads(request.content))
        return answer or httpx.Response(200, json={"message_id": "m"})

    async def ask() -> None:
        settings = replace(shop.settings.messenger, page_token="token")
        graph = Graph(settings, Mock(meta))
        while await feedback.ask(shop.services, graph):
            pass
        await graph.close()

    asyncio.run(ask())
    return sent


def on_messenger(shop: Shop, text: str = "ask_person", who: str = "mina") -> None:
    shop.services.runtime.care = replace(shop.services.care, privacy_url="https://shop.example/privacy")
    resolved(shop, text, who, channel=Channel.MESSENGER, account=PAGE)
    all_sent(shop)


def all_sent(shop: Shop) -> None:
    """Meta has what was to be sent."""
    with shop.store.unit_of_work() as session:
        session.execute(sa.update(Message).values(status=Status.SENT))


def asks(shop: Shop, who: str = "mina") -> None:
    """Anna wishes for a rating."""
    shop.does("Anna", lambda session, talk, agent, now: care.ask_rating(session, agent, talk, now), who)


def test_on_messenger_metas_template_asks_once_after_a_person_resolved_it(shop: Shop):
    on_messenger(shop)
    (body,) = asked_on_messenger(shop)
    payload = body["message"]["attachment"]["payload"]
    assert (body["recipient"], payload["template_type"]) == ({"id": "mina"}, "customer_feedback")
    (question,) = payload["feedback_screens"][0]["questions"]
    assert question["id"] == f"rating-{shop.conversation().id}"
    assert payload["business_privacy"] == {"url": "https://shop.example/privacy"}
    assert asked_on_messenger(shop) == []
    assert len([m for m in shop.messages() if m.author is Author.BOT]) == 1  # the hand-off notice alone


def test_on_messenger_nobody_is_asked_who_was_upset_wrote_long_ago_or_whom_only_the_bot_helped(shop: Shop):
    on_messenger(shop, "upset", "angry")
    shop.hears("return_policy", "helped", channel=Channel.MESSENGER, account=PAGE)
    shop.hears("settled", "helped", channel=Channel.MESSENGER, account=PAGE)
    assert asked_on_messenger(shop) == []
    on_messenger(shop, who="late")
    shop.now += timedelta(hours=25)
    assert asked_on_messenger(shop) == []


def test_on_messenger_nobody_is_asked_while_it_may_be_opened_again(shop: Shop):
    on_messenger(shop)
    assert asked_on_messenger(shop, after=desk.UNDO - timedelta(seconds=1)) == []
    shop.does("Anna", desk.reopen)
    assert asked_on_messenger(shop) == []
    shop.does("Anna", desk.resolve)
    assert asked_on_messenger(shop, after=timedelta(0)) == []
    assert len(asked_on_messenger(shop)) == 1


@pytest.mark.parametrize("wished", [False, True])
def test_on_messenger_nobody_is_asked_about_the_past_who_talks_to_us_again(shop: Shop, wished: bool):
    on_messenger(shop)
    if wished:
        asks(shop)
    shop.hears("return_policy", channel=Channel.MESSENGER, account=PAGE)
    all_sent(shop)
    assert asked_on_messenger(shop) == []
    assert len(shop.conversations()) == 2


@pytest.mark.parametrize("status", [Status.QUEUED, Status.SENDING, Status.UNKNOWN])
def test_on_messenger_nobody_is_asked_before_the_answer_has_left(shop: Shop, status: Status):
    on_messenger(shop)
    with shop.store.unit_of_work() as session:
        session.execute(sa.update(Message).where(Message.author == Author.AGENT).values(status=status))
    assert asked_on_messenger(shop) == []
    all_sent(shop)
    assert len(asked_on_messenger(shop)) == 1


def test_on_messenger_an_agents_wish_counts_whatever_the_ending_was(shop: Shop):
    on_messenger(shop, "upset", "angry")
    shop.hears("return_policy", "helped", channel=Channel.MESSENGER, account=PAGE)
    all_sent(shop)
    with pytest.raises(Conflict):
        asks(shop, "helped")
    shop.hears("settled", "helped", channel=Channel.MESSENGER, account=PAGE)
    shop.services.runtime.care = replace(shop.services.care, rating=False)
    for who in ("angry", "helped"):
        asks(shop, who)
        asks(shop, who)
    asked = {body["recipient"]["id"] for body in asked_on_messenger(shop)}
    assert asked == {"angry", "helped"}
    assert asked_on_messenger(shop) == []


def test_without_a_privacy_policy_messenger_is_not_asked(shop: Shop):
    on_messenger(shop)
    shop.services.runtime.care = replace(shop.services.care, privacy_url="")
    assert asked_on_messenger(shop) == []


def test_a_refusal_by_meta_is_kept_and_not_tried_again(shop: Shop):
    on_messenger(shop)
    refusal = httpx.Response(400, json={"error": {"code": 100, "message": "no"}})
    assert len(asked_on_messenger(shop, refusal)) == 1
    assert asked_on_messenger(shop) == []
    with shop.store.read() as session:
        assert "100" in session.scalars(sa.select(RatingRequest.error)).one()


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(429, headers={"retry-after": "60"}),
        httpx.Response(400, json={"error": {"code": 2, "message": "try again"}}),
        httpx.Response(400, json={"error": {"code": 190, "message": "the token has expired"}}),
    ],
)
def test_where_meta_took_nothing_the_customer_is_asked_later(shop: Shop, answer: httpx.Response):
    on_messenger(shop)
    assert len(asked_on_messenger(shop, answer)) == 1
    assert asked_on_messenger(shop, after=timedelta(minutes=4)) == []
    assert len(asked_on_messenger(shop, after=timedelta(minutes=1))) == 1
    assert asked_on_messenger(shop, after=timedelta(hours=1)) == []
    with shop.store.read() as session:
        assert session.scalars(sa.select(RatingRequest.error)).one() is None


def test_nobody_is_asked_for_an_account_whose_token_is_known_to_be_bad(shop: Shop):
    on_messenger(shop)
    with shop.store.unit_of_work() as session:
        accounts.halt(session, PAGE, accounts.Trouble.TOKEN, "expired", shop.now)
    assert asked_on_messenger(shop) == []
    with shop.store.unit_of_work() as session:
        accounts.mend(session, PAGE)
    assert len(asked_on_messenger(shop)) == 1


def test_nobody_is_asked_again_where_the_question_may_have_arrived(shop: Shop):
    on_messenger(shop)
    assert len(asked_on_messenger(shop, httpx.Response(500))) == 1
    assert asked_on_messenger(shop, after=timedelta(hours=1)) == []


def feedback_event(
    conversation: int, score: str = "4", comment: str = "Quick!", sender: str = "mina"
) -> bytes:
    import json

    answer = {"type": "csat", "payload": score, "follow_up": {"type": "free_form", "payload": comment}}
    event = {
        "sender": {"id": sender},
        "recipient": {"id": PAGE},
        "messaging_feedback": {
            "feedback_screens": [{"screen_id": 0, "questions": {f"rating-{conversation}": answer}}]
        },
    }
    return json.dumps(
        {"object": "page", "entry": [{"id": PAGE, "time": 1764000000000, "messaging": [event]}]}
    ).encode()


def test_the_answer_to_the_template_is_the_conversations_rating(shop: Shop):
    on_messenger(shop)
    asked_on_messenger(shop)
    for _ in range(2):  # a redelivery
        (incoming,) = parse(shop.settings.messenger, feedback_event(shop.conversation().id))
        assert incoming.kind is Kind.FEEDBACK
        shop.writes(
            "",
            external_id=incoming.external_id,
            kind=incoming.kind,
            channel=Channel.MESSENGER,
            account=PAGE,
            **incoming.payload,
        )
    with shop.store.read() as session:
        (found,) = session.scalars(sa.select(Rating)).all()
    assert (found.score, found.comment, found.conversation_id) == (4, "Quick!", shop.conversation().id)
    assert len(shop.conversations()) == 1  # an answer opens no conversation


def test_nobody_rates_a_strangers_conversation_or_one_that_was_not_asked(shop: Shop):
    on_messenger(shop)
    shop.hears("return_policy", "other", channel=Channel.MESSENGER, account=PAGE)
    first = shop.conversation().id
    for who, conversation in (("other", first), ("mina", first), ("mina", 99_999)):
        shop.writes(
            "",
            who,
            kind=Kind.FEEDBACK,
            channel=Channel.MESSENGER,
            account=PAGE,
            conversation=conversation,
            score=1,
            comment="",
        )
    with shop.store.read() as session:
        assert session.scalars(sa.select(Rating)).all() == []


@pytest.mark.parametrize("score", ["", "9", "good", None])
def test_feedback_that_cannot_be_read_is_kept_as_it_is(shop: Shop, score: Any):
    (incoming,) = parse(shop.settings.messenger, feedback_event(1, score))
    assert incoming.kind is Kind.OTHER


def test_a_rating_belongs_to_one_conversation_in_the_database(shop: Shop):
    resolved(shop)
    rates(shop, 4)
    for bad in ("score = 6", "score = 0"):
        with pytest.raises(sa.exc.IntegrityError), shop.store.unit_of_work() as session:
            session.execute(sa.text(f"UPDATE rating SET {bad}"))


def test_an_answer_about_a_conversation_that_was_opened_again_holds_nobody_up(shop: Shop):
    on_messenger(shop)
    asked_on_messenger(shop)
    talk = shop.conversation()
    with shop.store.unit_of_work() as session:
        again = session.get_one(Conversation, talk.id)
        again.state, again.closed_at = State.WAITING, None
        session.execute(sa.delete(Rating))
    shop.writes(
        "",
        kind=Kind.FEEDBACK,
        channel=Channel.MESSENGER,
        account=PAGE,
        conversation=talk.id,
        score=4,
        comment="",
    )
    shop.writes("hello", "jonas")
    assert shop.conversation("jonas").state is State.BOT
