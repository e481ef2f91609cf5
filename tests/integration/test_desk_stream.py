"""What an open desk is told, over HTTP on a real port."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bot.desk import events
from tests.integration.test_web_chat import Stream
from tests.support import AtDesk, Server, wait_for


@contextmanager
def open_desk(agent: AtDesk, query: str = "") -> Iterator[Stream]:
    cookie = "reply_twice_desk=" + agent.headers["Authorization"].removeprefix("Bearer ")
    with agent.http.stream("GET", f"/desk/events{query}", headers={"Cookie": cookie}) as response:
        assert response.status_code == 200
        assert response.headers["cache-control"] == "no-store"
        yield Stream(response)


def test_a_desk_is_told_who_wrote_where_and_whether_it_is_for_its_reader(server: Server):
    anna, ben, visitor = server.agent("Anna"), server.agent("Ben"), server.visitor()
    visitor.posts("upset")
    (waiting,) = wait_for(lambda: anna.queue("waiting"))
    with open_desk(anna) as annas, open_desk(ben) as bens:
        assert anna.does("take", waiting["id"]).is_success
        visitor.posts("are you there?")
        for desk in (annas, bens):
            wait_for(lambda desk=desk: [d for _, d, _ in desk.events if d["author"] == "customer"])
            assert {kind for kind, _, _ in desk.events} == {"changed"}
            assert {d["conversation"] for _, d, _ in desk.events} == {waiting["id"]}
            ids = [int(id_) for _, _, id_ in desk.events]
            assert ids == sorted(set(ids))
        assert [d["mine"] for _, d, _ in annas.events if d["author"] == "customer"] == [True]
        assert not any(d["mine"] for _, d, _ in bens.events)
        first = annas.events[0][2]
        last = annas.events[-1][2]
    with open_desk(anna, f"?after={first}") as again:
        wait_for(lambda: again.events and again.events[-1][2] == last)
        assert int(again.events[0][2]) > int(first)


def test_a_desk_whose_session_has_ended_is_told_so_and_nothing_else(
    server: Server, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(events, "RECHECK_SECONDS", 0.05)
    anna = server.agent("Anna")
    with open_desk(anna) as desk:
        monkeypatch.setattr(events, "_is_logged_in", lambda *_: False)
        wait_for(lambda: [kind for kind, _, _ in desk.events] == ["logged-out"])
