"""The desk's JSON API, and a whole conversation over HTTP."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from bot.desk import agents, api
from tests.support import Server, settings_for, wait_for


def test_an_upset_customer_is_taken_over_and_the_bot_stays_silent(server: Server):
    visitor, anna, ben = server.visitor(), server.agent("Anna"), server.agent("Ben")
    visitor.posts("order_status upset")
    (row,) = wait_for(anna.queue)
    assert (row["reason"], row["channel"], row["replies_used"]) == ("empathy", "web", 1)
    assert row["waiting_since"]

    assert anna.does("take", row["id"]).status_code == 200
    second = ben.does("take", row["id"])
    assert (second.status_code, second.json()["detail"]) == (409, "Anna has this conversation.")
    assert ben.writes("messages", row["id"], "Hello").status_code == 409

    assert anna.writes("messages", row["id"], "I'm so sorry, Mina.").status_code == 201
    wait_for(lambda: visitor.texts("agent") == ["I'm so sorry, Mina."])
    visitor.posts("return_policy")
    wait_for(lambda: len(visitor.texts("customer")) == 2)
    assert len(visitor.texts("bot")) == 1
    assert visitor.history()["status"]["agent"] == "Anna"

    anna.writes("notes", row["id"], "A regular.")
    assert "A regular." not in str(visitor.history())
    assert anna.does("resolve", row["id"]).json()["state"] == "closed"
    assert visitor.state() == "closed"


def test_the_third_message_waits_with_reason_limit(server: Server):
    visitor, anna = server.visitor(), server.agent("Anna")
    for text in ("order_status", "10023 mina@example.com give_details"):
        before = len(visitor.texts("bot"))
        visitor.posts(text)
        wait_for(lambda before=before: len(visitor.texts("bot")) == before + 1)
    visitor.posts("return_policy")
    (row,) = wait_for(anna.queue)
    assert (row["reason"], row["replies_used"]) == ("limit", 2)
    assert len(visitor.texts("bot")) == 2
    detail = server.http.get(f"/api/desk/conversations/{row['id']}", headers=anna.headers).json()
    assert [m["reply_no"] for m in detail["messages"] if m["author"] == "bot"] == [1, 2]


def test_answering_without_taking_is_refused(server: Server):
    visitor, anna = server.visitor(), server.agent("Anna")
    visitor.posts("upset")
    (row,) = wait_for(anna.queue)
    assert anna.writes("messages", row["id"], "Hello").status_code == 403


def test_an_answer_sent_twice_arrives_once(server: Server):
    visitor, anna = server.visitor(), server.agent("Anna")
    visitor.posts("upset")
    (row,) = wait_for(anna.queue)
    anna.does("take", row["id"])
    answers = [anna.does("messages", row["id"], client_id="one", text="Hello") for _ in range(2)]
    assert [a.status_code for a in answers] == [201, 200]
    assert visitor.texts("agent") == ["Hello"]


def test_a_conversation_given_back_is_the_bots_again(server: Server):
    visitor, anna = server.visitor(), server.agent("Anna")
    visitor.posts("upset")
    (row,) = wait_for(anna.queue)
    anna.does("take", row["id"])
    assert anna.does("give-back", row["id"]).json()["state"] == "bot"
    visitor.posts("return_policy")
    wait_for(lambda: len(visitor.texts("bot")) == 2)


@pytest.mark.parametrize("path", ["conversations", "conversations/1", "conversations?state=waiting"])
def test_nothing_is_shown_without_a_log_in(server: Server, path: str):
    assert server.http.get(f"/api/desk/{path}").status_code == 401


def test_nothing_is_done_without_a_log_in(server: Server):
    assert server.http.post("/api/desk/conversations/1/take").status_code == 401


@pytest.mark.parametrize("verb", ["take", "messages", "notes", "give-back", "resolve"])
def test_what_is_not_there_is_not_found(server: Server, verb: str):
    anna = server.agent("Anna")
    for conversation_id in (1, 2**31 - 1):
        assert anna.writes(verb, conversation_id, "Hello").status_code == 404
    for conversation_id in (0, -1, 2**31, 10**30):
        assert anna.writes(verb, conversation_id, "Hello").status_code == 422


def test_guessing_passwords_is_slowed_down(server: Server):
    server.agent("Anna")
    login = {"email": "anna@shop.example", "password": "wrong"}
    codes = [server.http.post("/api/desk/login", json=login).status_code for _ in range(11)]
    assert codes == [401] * 10 + [429]
    right = login | {"password": "correct horse"}
    assert server.http.post("/api/desk/login", json=right).status_code == 429


def test_nobody_locks_an_agent_out_from_afar(server: Server):
    server.agent("Anna")
    with server.services.store.unit_of_work() as session:
        for number in range(30):
            agents.note_failure(session, "anna@shop.example", f"10.0.0.{number}", server.services.clock())
    right = {"email": "anna@shop.example", "password": "correct horse"}
    assert server.http.post("/api/desk/login", json=right).status_code == 200


def test_an_unknown_e_mail_is_refused_like_a_wrong_password(server: Server):
    server.agent("Anna")
    answers = [
        server.http.post("/api/desk/login", json={"email": email, "password": "wrong"})
        for email in ("anna@shop.example", "nobody@shop.example")
    ]
    assert answers[0].json() == answers[1].json()


def test_a_cookie_alone_changes_nothing(server: Server):
    """A browser adds the cookie to another site's form by itself; the CSRF token it can't know."""
    anna = server.agent("Anna")
    token = anna.headers["Authorization"].removeprefix("Bearer ")
    cookies = {"Cookie": f"{api.COOKIE}={token}"}
    assert server.http.get("/api/desk/conversations", headers=cookies).status_code == 200
    take = "/api/desk/conversations/1/take"
    assert server.http.post(take, headers=cookies).status_code == 403
    assert server.http.post(take, headers=cookies | {"X-CSRF-Token": "guess"}).status_code == 403
    ours = cookies | {"X-CSRF-Token": agents.csrf_token(token)}
    assert server.http.post(take, headers=ours).status_code == 404


@pytest.mark.parametrize("bad", ["\0", "a\0b", "\ud800"])
def test_what_no_database_can_hold_is_refused_with_a_reason(server: Server, bad: str):
    visitor, anna = server.visitor(), server.agent("Anna")
    visitor.posts("upset")
    (row,) = wait_for(anna.queue)
    anna.does("take", row["id"])
    for verb in ("messages", "notes"):
        path = f"/api/desk/conversations/{row['id']}/{verb}"
        body = json.dumps({"client_id": bad, "text": "Hello"})  # as escapes
        headers = anna.headers | {"Content-Type": "application/json"}
        refused = server.http.post(path, content=body, headers=headers)
        assert refused.status_code == 422
        assert refused.json()["detail"].startswith("client_id: ")
    assert visitor.texts("agent") == []


def test_nobody_is_found_by_what_is_no_e_mail(migrated_url: str, tmp_path: Path):
    with Server(settings_for(tmp_path, DATABASE_URL=migrated_url)) as server:
        login = {"email": "anna\0@shop.example", "password": "correct horse"}
        assert server.http.post("/api/desk/login", json=login).status_code == 401
        assert server.http.post("/desk/login", data=login).status_code == 401


def test_two_agents_hand_a_conversation_to_each_other(server: Server):
    visitor, anna, ben = server.visitor(), server.agent("Anna"), server.agent("Ben")
    visitor.posts("upset")
    (row,) = wait_for(anna.queue)
    assert ben.does("take-over", row["id"]).status_code == 409  # nobody has it
    anna.does("take", row["id"])
    assert ben.does("take-over", row["id"]).json()["agent"] == "Ben"
    assert anna.writes("messages", row["id"], "Hello").status_code == 409
    assert ben.does("hand", row["id"], to=1, note="She knows you.").json()["agent"] == "Anna"
    until = "2099-01-01T00:00:00+00:00"
    assert anna.does("snooze", row["id"], until=until).status_code == 422  # a year ahead at most
    soon = (server.services.clock() + timedelta(hours=1)).isoformat()
    assert anna.does("snooze", row["id"], until=soon).json()["snoozed_until"] == soon
    assert anna.does("wake", row["id"]).json()["snoozed_until"] is None
    anna.does("resolve", row["id"])
    assert ben.does("reopen", row["id"]).status_code == 409
    assert anna.does("reopen", row["id"]).json()["state"] == "agent"


def test_the_stream_is_paged_and_searched_over_the_api(server: Server):
    anna = server.agent("Anna")
    for text in ("upset lamp", "upset 담요", "upset sofa"):
        server.visitor().posts(text)
    wait_for(lambda: len(anna.queue()) == 3)

    def get(query: str) -> Any:
        return server.http.get(f"/api/desk/conversations?{query}", headers=anna.headers).json()

    (found,) = get("q=담요")["conversations"]
    assert (found["last_message"], found["unread"]) == ("upset 담요", True)
    first = get("view=all&limit=2")
    rest = get(f"view=all&limit=2&before={quote(first['next'])}")
    assert len({row["id"] for row in first["conversations"] + rest["conversations"]}) == 3
    assert rest["next"] is None
    assert "out of date" in get("view=all&before=nonsense")["detail"]
