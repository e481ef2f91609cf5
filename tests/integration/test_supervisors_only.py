"""Who may open and send what, by the server's word: every route is walked, none is named by hand."""

import re
from collections.abc import Iterator
from datetime import timedelta

import httpx
import pytest
import sqlalchemy as sa
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from bot.desk import agents, api, conversations, people
from bot.desk.boards.base import BOARDS
from bot.domain.errors import NotLoggedIn
from bot.domain.words import State
from bot.store.care import AuditEntry, Holiday, Presence, Rule, RunSetting, Tag, Target, Team
from bot.store.tables import Agent, Conversation
from tests.support import Server, wait_for

PASSWORD = "correct horse"


class Desk:
    """An agent's browser."""

    def __init__(self, server: Server, name: str, role: str) -> None:
        self.server = server
        with server.services.store.unit_of_work() as session:
            self.id = agents.add_agent(
                session, f"{name.lower()}@shop.example", name, role, PASSWORD, server.services.clock()
            ).id
        self.http = httpx.Client(base_url=server.url, timeout=20, trust_env=False)
        self.http.post("/desk/login", data={"email": f"{name.lower()}@shop.example", "password": PASSWORD})
        self.csrf = re.search(r'name="csrf" value="(\w+)"', self.http.get("/desk").text)[1]

    def get(self, path: str, **more) -> httpx.Response:
        return self.http.get(path, **more)

    def post(self, path: str, **form) -> httpx.Response:
        return self.http.post(path, data={"csrf": self.csrf, **form})


@pytest.fixture
def anna(server: Server) -> Iterator[Desk]:
    desk = Desk(server, "Anna", "agent")
    yield desk
    desk.http.close()


@pytest.fixture
def robin(server: Server) -> Iterator[Desk]:
    desk = Desk(server, "Robin", "supervisor")
    yield desk
    desk.http.close()


def routes_of(routes: list[BaseRoute]) -> Iterator[APIRoute]:
    for route in routes:
        if isinstance(route, APIRoute):
            yield route
        else:
            inner = getattr(route, "original_router", None) or getattr(route, "app", None)
            yield from routes_of(getattr(inner, "routes", []))


def supervisors_routes(server: Server) -> list[tuple[str, str]]:
    """Method and address of each route under a supervisors' board, its parameters filled in."""
    found = []
    for route in routes_of(server.app.routes):
        path = route.path
        if any(path.startswith(f"/desk/{board}") or path == f"/desk/{board}" for board in BOARDS):
            path = path.replace("{verb}", "retire" if "rules" in path else "role").replace(
                "{name}", "routing"
            )
            path = re.sub(r"\{\w+(:\w+)?\}", "1", path)
            found += [(method, path) for method in sorted(route.methods or ())]
    return found


def test_the_walk_finds_the_boards(server: Server):
    found = supervisors_routes(server)
    assert {path for method, path in found if method == "GET"} >= {f"/desk/{board}" for board in BOARDS}
    assert len([1 for method, _ in found if method == "POST"]) >= 15


def test_an_agent_reaches_no_supervisors_route(server: Server, anna: Desk):
    before = stored(server)
    for method, path in supervisors_routes(server):
        got = anna.get(path) if method == "GET" else anna.post(path, name="x", value="x", verb="draft")
        assert got.status_code == 403, (method, path)
        assert "supervisor" in got.text.lower()
    assert stored(server) == before


def test_nobody_who_is_not_logged_in_does(server: Server):
    for method, path in supervisors_routes(server):
        got = server.http.request(method, path, data={"csrf": "x"} if method == "POST" else None)
        assert (got.status_code, got.headers["location"].partition("?")[0]) == (303, "/desk/login"), (
            method,
            path,
        )


def test_another_sites_form_does_nothing_even_for_a_supervisor(server: Server, robin: Desk):
    before = stored(server)
    for method, path in supervisors_routes(server):
        if method == "POST":
            got = robin.http.post(path, data={"csrf": "guessed", "name": "x", "value": "off", "verb": "set"})
            assert got.status_code == 403, path
    assert stored(server) == before


def stored(server: Server) -> list[int]:
    with server.services.store.read() as session:
        tables = (Agent, AuditEntry, Holiday, Rule, RunSetting, Tag, Target, Team)
        return [session.scalar(sa.select(sa.func.count()).select_from(table)) or 0 for table in tables]


def test_a_supervisor_opens_every_board_in_every_language(server: Server, robin: Desk):
    for language in ("en", "ko", "ja", "de"):
        for board in BOARDS:
            got = robin.get(f"/desk/{board}", headers={"Accept-Language": language})
            assert got.status_code == 200, (board, got.text[-300:])
            assert f'<html lang="{"en" if language == "de" else language}">' in got.text


def test_a_role_that_was_taken_away_is_gone_with_the_next_click(server: Server, robin: Desk):
    sam = Desk(server, "Sam", "supervisor")
    assert sam.get("/desk/people").status_code == 200
    robin.post(f"/desk/people/{sam.id}/role", value="agent")
    assert sam.get("/desk/people").status_code == 403
    sam.http.close()


def test_a_new_password_of_ones_own_logs_out_whoever_had_the_old_one(server: Server, robin: Desk):
    with httpx.Client(base_url=server.url, trust_env=False) as elsewhere:
        login = {"email": "robin@shop.example", "password": PASSWORD}
        assert elsewhere.post("/desk/login", data=login).status_code == 303
        assert elsewhere.get("/desk").status_code == 200
        robin.post(f"/desk/people/{robin.id}/password", value="another horse")
        assert elsewhere.get("/desk").headers["location"].startswith("/desk/login")
        assert robin.get("/desk/people").status_code == 200


def test_but_not_the_session_that_it_was_set_in(server: Server, robin: Desk, anna: Desk):
    now = server.services.clock()
    here = robin.http.cookies[api.COOKIE]
    with server.services.store.unit_of_work() as session:
        by = session.get_one(Agent, robin.id)
        there = agents.open_session(session, by, now)
        people.set_password(session, by, robin.id, "another horse", now, kept=here)
        assert agents.agent_of(session, here, now) is by
        with pytest.raises(NotLoggedIn):
            agents.agent_of(session, there, now)
        annas = anna.http.cookies[api.COOKIE]
        assert agents.agent_of(session, annas, now).id == anna.id  # nobody else is logged out
        people.set_password(session, by, anna.id, "another horse", now, kept=annas)
        with pytest.raises(NotLoggedIn):
            agents.agent_of(session, annas, now)


def test_who_is_deactivated_or_gets_a_new_password_is_logged_out_at_once(
    server: Server, robin: Desk, anna: Desk
):
    robin.post(f"/desk/people/{anna.id}/password", value="another horse")
    assert anna.get("/desk").headers["location"].startswith("/desk/login")
    again = httpx.Client(base_url=server.url, trust_env=False)
    login = {"email": "anna@shop.example"}
    assert again.post("/desk/login", data={**login, "password": PASSWORD}).status_code == 401
    assert again.post("/desk/login", data={**login, "password": "another horse"}).status_code == 303
    robin.post(f"/desk/people/{anna.id}/deactivate")
    assert again.get("/desk").headers["location"].startswith("/desk/login")
    assert again.post("/desk/login", data={**login, "password": "another horse"}).status_code == 401
    robin.post(f"/desk/people/{anna.id}/activate")
    assert again.post("/desk/login", data={**login, "password": "another horse"}).status_code == 303
    again.close()


def test_a_rule_goes_live_only_as_it_was_tried(server: Server, robin: Desk):
    form = {"name": "Shipping", "phrases": "shipping\n배송", "tag": "Shipping", "priority": "2"}
    tried = robin.post("/desk/rules/save", verb="live", **form)
    assert 'id="trial"' in tried.text
    digest = re.search(r'name="tried" value="(\w+)"', tried.text)[1]
    changed = robin.post("/desk/rules/save", verb="live", tried=digest, **{**form, "phrases": "other"})
    assert 'id="trial"' in changed.text
    done = robin.post("/desk/rules/save", verb="live", tried=digest, **form)
    assert done.headers["location"] == "/desk/rules?done=live"
    with server.services.store.read() as session:
        (rule,) = session.scalars(sa.select(Rule)).all()
    assert (rule.phrases["any"], rule.live_since is not None) == (["shipping", "배송"], True)
    assert "Shipping" in robin.get("/desk/rules").text


def test_what_a_form_gets_wrong_is_said_in_the_readers_language_and_the_text_stays(robin: Desk):
    robin.http.headers["Accept-Language"] = "ko-KR,ko"
    got = robin.post("/desk/rules/save", verb="draft", name="My rule", phrases="shipping")
    assert got.status_code == 422
    assert "규칙이 할 일을 정해 주세요" in got.text
    assert 'value="My rule"' in got.text
    assert "shipping</textarea>" in got.text


@pytest.mark.parametrize("text", ["   ", "x" * 2_001])
def test_a_note_on_a_customer_that_cannot_be_kept_is_shown_again_with_the_reason(
    server: Server, anna: Desk, text: str
):
    server.visitor().posts("hello")
    talk = wait_for(lambda: newest(server))
    form = {"from": str(talk.id), "text": text}
    got = anna.post(f"/desk/contacts/{talk.contact_id}/notes", **form)
    assert got.status_code == 422
    assert "Write 1 to 2000 characters." in got.text.partition('role="alert"')[2]
    (note, answer) = (got.text.partition(f'id="{one}"')[2] for one in ("contact-note", "text"))
    assert note.partition(">")[2].startswith(f"{text}</textarea>")
    assert answer.partition(">")[2].startswith("</textarea>")


def newest(server: Server) -> Conversation | None:
    with server.services.store.read() as session:
        return session.scalar(sa.select(Conversation).order_by(Conversation.id.desc()).limit(1))


def test_a_wrong_e_mail_address_is_named_in_the_readers_language(robin: Desk):
    robin.http.headers["Accept-Language"] = "ko-KR,ko"
    got = robin.post("/desk/people/add", email="anna@shop..example", name="x", password="long enough")
    alert = got.text.partition('role="alert"')[2].partition("</p>")[0]
    assert "이메일 주소가 아닙니다" in alert


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("/desk/settings/routing", {"value": "magic"}),
        ("/desk/settings/capacity", {"value": "-1"}),
        ("/desk/settings/capacity", {"value": "²"}),
        ("/desk/settings/secret_key", {"value": "x"}),
        ("/desk/settings/idle_hours", {"value": "nan"}),
        ("/desk/settings/privacy_url", {"value": "javascript:alert(1)"}),
        ("/desk/promises/hours", {"value": "always"}),
        ("/desk/promises/holidays", {"day": "2026-02-30", "name": "x"}),
        ("/desk/promises/targets", {"first": "10", "solve": "5"}),
        ("/desk/promises/targets", {"first": "٣", "solve": "50"}),
        ("/desk/promises/targets", {"channel": "fax", "first": "1", "solve": "5"}),
        ("/desk/settings/shop_name", {"value": "Loom\0"}),
        ("/desk/people/add", {"email": "an@shop.example", "name": "x\0", "password": "long enough"}),
        ("/desk/people/add", {"email": "no", "name": "x", "password": "long enough"}),
        ("/desk/people/add", {"email": "a@shop.example", "name": "x", "password": "short"}),
        ("/desk/people/add", {"email": "robin@shop.example", "name": "x", "password": "long enough"}),
        ("/desk/people/teams", {"name": " "}),
        ("/desk/rules/tags", {"name": ""}),
        ("/desk/people/999/role", {"value": "agent"}),
        ("/desk/rules/999/stop", {}),
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_changes(
    server: Server, robin: Desk, path: str, form: dict[str, str]
):
    before = stored(server)
    got = robin.post(path, **form)
    assert got.status_code in (409, 422), got.status_code
    assert 'role="alert"' in got.text
    assert stored(server) == before


def test_a_wrong_setting_is_named_and_stays_as_it_was_typed(robin: Desk):
    got = robin.post("/desk/settings/capacity", value="six <b>").text
    alert = got.partition('role="alert"')[2].partition("</p>")[0]
    assert '<a href="#value-capacity">Conversations for one agent</a>' in alert
    assert "Write a number." in alert
    (field,) = (line for line in got.splitlines() if 'id="value-capacity"' in line)
    assert 'value="six &lt;b&gt;"' in field
    assert 'aria-invalid="true"' in field
    assert got.count("aria-invalid") == 1


def test_a_setting_holds_at_once_wins_over_the_environment_and_is_on_record(server: Server, robin: Desk):
    assert server.services.settings.shop_name == "Linden & Loom"
    robin.post("/desk/settings/shop_name", value="Loom <b>")
    robin.post("/desk/settings/idle_hours", value="2")
    robin.post("/desk/promises/hours", value="Mon-Sun 00:00-23:59")
    robin.post("/desk/promises/holidays", day="2026-12-25", name="Christmas")
    settings = server.services.settings
    assert (settings.shop_name, settings.idle.total_seconds()) == ("Loom <b>", 7200)
    assert (len(settings.opening_hours.spans), len(settings.opening_hours.holidays)) == (7, 1)
    assert "Loom &lt;b&gt;" in robin.get("/desk").text
    robin.post("/desk/settings/shop_name", verb="reset")
    assert server.services.settings.shop_name == "Linden & Loom"
    trail = robin.get("/desk/audit?kind=setting").text
    assert trail.count("Changed a setting") == 4
    assert "Christmas" in robin.get("/desk/audit").text


def test_the_audit_trail_only_grows(server: Server, robin: Desk):
    robin.post("/desk/rules/tags", name="Shipping")
    for attack in ("UPDATE audit SET agent = 'Nobody'", "DELETE FROM audit"):
        with pytest.raises(sa.exc.IntegrityError), server.services.store.unit_of_work() as session:
            session.execute(sa.text(attack))


def test_an_agent_sets_only_their_own_presence(server: Server, anna: Desk):
    assert "Away" in anna.get("/desk").text
    anna.post("/desk/presence", available="yes")
    assert "Available" in anna.get("/desk").text
    assert anna.post(f"/desk/people/{anna.id}/capacity", value="99").status_code == 403


def test_programs_set_presence_and_read_what_is_owed(server: Server):
    ben, visitor = server.agent("Ben"), server.visitor()
    assert ben.http.post("/api/desk/presence", json={"available": True}).status_code == 401
    done = ben.http.post("/api/desk/presence", json={"available": True}, headers=ben.headers)
    assert done.json() == {"available": True}
    visitor.posts("upset")
    (row,) = wait_for(ben.queue)
    path = f"/api/desk/conversations/{row['id']}/care"
    found = wait_for(lambda: (got := ben.http.get(path, headers=ben.headers).json())["due"] and got)
    assert (found["priority"], found["tags"], found["due"]["what"], found["due"]["state"]) == (
        1,
        [],
        "first",
        "ok",
    )
    assert ben.http.get("/api/desk/conversations/1/care").status_code == 401


def test_what_is_owed_in_no_conversation_is_not_found(server: Server):
    ben = server.agent("Ben")
    assert ben.http.get("/api/desk/conversations/999/care", headers=ben.headers).status_code == 404


def test_what_cannot_be_done_at_a_chat_is_said_on_a_page_in_the_readers_language(server: Server, anna: Desk):
    server.visitor().posts("upset")
    (talk,) = wait_for(lambda: waiting(server))
    for form, status, said in (
        ({"verb": "rating"}, 409, "그사이 바뀌었습니다"),  # it isn't over yet
        ({"verb": "priority", "value": "9"}, 422, "입력이 부족합니다"),
        ({"verb": "tag", "value": "999"}, 404, "페이지가 없습니다"),
    ):
        anna.http.headers["Accept-Language"] = "ko"
        got = anna.post(f"/desk/conversations/{talk}/care", **form)
        assert got.status_code == status
        assert said in got.text


def test_whoever_is_refused_a_chat_is_told_so_at_once(
    server: Server, anna: Desk, monkeypatch: pytest.MonkeyPatch
):
    waited: list[int] = []
    monkeypatch.setattr(conversations, "let_it_land", lambda _store, talk: waited.append(talk))
    ben = server.agent("Ben")
    server.visitor().posts("upset")
    (row,) = wait_for(ben.queue)
    ben.does("take", row["id"])
    assert waited == [row["id"]]
    assert anna.post(f"/desk/conversations/{row['id']}/take").status_code == 409
    assert waited == [row["id"]]
    ben.does("give-back", row["id"])
    assert anna.post(f"/desk/conversations/{row['id']}/take").status_code == 303
    assert waited == [row["id"]] * 2


def waiting(server: Server) -> list[int]:
    with server.services.store.read() as session:
        return list(session.scalars(sa.select(Conversation.id).where(Conversation.state == State.WAITING)))


def test_only_a_page_keeps_its_agent_available(server: Server, anna: Desk):
    ben = server.agent("Ben")
    ben.http.post("/api/desk/presence", json={"available": True}, headers=ben.headers)
    anna.post("/desk/presence", available="yes")
    with server.services.store.unit_of_work() as session:
        session.execute(sa.update(Presence).values(seen_at=server.services.clock() - timedelta(minutes=4)))
    ben.queue()
    anna.get("/desk")
    with server.services.store.read() as session:
        there = dict(session.execute(sa.select(Agent.name, Presence.available).join(Presence)).all())
    assert there == {"Ben": False, "Anna": True}
