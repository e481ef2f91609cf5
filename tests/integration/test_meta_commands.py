"""`set-up-messenger` and `doctor`, as real processes against a stand-in for Graph."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bot import doctor
from bot.channels import profile
from bot.channels.graph import Graph
from bot.doctor import Finding, Mark
from bot.domain.errors import BadInput
from bot.settings import ROOT
from bot.store.engine import Store
from tests.meta import APP, PAGE, GraphServer
from tests.support import Server, settings_for

INSTAGRAM = "17841400000000001"


@pytest.fixture
def graph() -> Iterator[GraphServer]:
    graph = GraphServer()
    yield graph
    graph.close()


def run(folder: Path, graph: GraphServer, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    given = {
        "DATA_DIR": str(folder / "var"),
        "MESSENGER_GRAPH_URL": graph.url,
        "MESSENGER_APP_ID": APP,
        "MESSENGER_APP_SECRET": "app secret",
        "MESSENGER_VERIFY_TOKEN": "verify me",
        "MESSENGER_PAGE_TOKEN": "page token",
        **env,
    }
    return subprocess.run(
        [sys.executable, "-m", "bot", *arguments],
        cwd=ROOT, env=os.environ | given, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


class TestSetUp:
    def test_the_welcome_goes_to_meta_in_every_language_of_the_shop(self, tmp_path: Path, graph: GraphServer):
        graph.answers["POST /me/messenger_profile"] = 200, {"result": "success"}
        graph.answers["POST /me/subscribed_apps"] = 200, {"success": True}
        env = {"INSTAGRAM_ACCOUNTS": f"{INSTAGRAM}:ig token", "SHOP_NAME": "Birch & Bay"}
        done = run(tmp_path, graph, "set-up-messenger", **env)
        assert (done.returncode, done.stderr) == (0, "")
        calls = [call for name, call in graph.asked if name == "POST /me/messenger_profile"]
        instagram, page = calls
        assert (instagram["platform"], instagram["token"]) == ("instagram", "Bearer ig token")
        assert page["get_started"] == {"payload": "GET_STARTED"}
        assert {one["locale"] for one in page["greeting"]} == {"default", "ko_KR", "ja_JP"}
        assert all("Birch & Bay" in one["text"] for one in page["greeting"])
        assert all(len(one["call_to_actions"]) == 4 for one in page["ice_breakers"])
        ((_, subscribed),) = [call for call in graph.asked if call[0] == "POST /me/subscribed_apps"]
        assert "message_reads" in subscribed["subscribed_fields"].split(",")

    def test_what_meta_refuses_is_told(self, tmp_path: Path, graph: GraphServer):
        graph.answers["POST /me/messenger_profile"] = 400, {"error": {"code": 190, "message": "Expired"}}
        done = run(tmp_path, graph, "set-up-messenger")
        assert done.returncode == 1
        assert "190" in done.stderr
        assert "Traceback" not in done.stderr

    def test_without_a_token_the_setting_is_named(self, tmp_path: Path, graph: GraphServer):
        done = run(tmp_path, graph, "set-up-messenger", MESSENGER_PAGE_TOKEN="")
        assert done.returncode == 2
        assert "MESSENGER_PAGE_TOKEN" in done.stderr

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "- a list",
            "default: {}",
            "default: {greeting: '', questions: [{text: hi}]}",
            "default: {greeting: hi, questions: []}",
            "default: {greeting: hi, questions: [{text: ''}]}",
            f"default: {{greeting: {'x' * 161}, questions: [{{text: hi}}]}}",
            "ko_KR: {greeting: hi, questions: [{text: hi}]}",
            "\tx: [",
        ],
    )
    def test_a_wrong_file_is_refused_before_anything_is_sent(self, tmp_path: Path, text: str):
        (tmp_path / "mine.yml").write_text(text)
        with pytest.raises(BadInput, match=r"mine\.yml"):
            profile.read(tmp_path / "mine.yml", "Shop")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = settings_for(
        tmp_path_factory.mktemp("served"),
        MESSENGER_VERIFY_TOKEN="verify me",
        MESSENGER_APP_SECRET="app secret",
    )
    with Server(settings) as server:
        yield server


class TestDoctor:
    def finds(self, tmp_path: Path, graph: GraphServer, **env: str) -> list[Finding]:
        """The same as the command, in this process: it starts faster."""
        given = {
            "MESSENGER_GRAPH_URL": graph.url,
            "MESSENGER_APP_ID": APP,
            "MESSENGER_APP_SECRET": "app secret",
            "MESSENGER_VERIFY_TOKEN": "verify me",
            "MESSENGER_PAGE_TOKEN": "page token",
        }
        settings = settings_for(tmp_path, **given | env)
        store = Store(settings.database_url)
        store.migrate()

        async def examined() -> list[Finding]:
            client = Graph(settings.messenger)
            try:
                return [finding async for finding in doctor.examine(settings, store, client)]
            finally:
                await client.close()
                store.close()

        return asyncio.run(examined())

    @pytest.fixture
    def well(self, graph: GraphServer, shop: Server) -> GraphServer:
        """A Meta with which everything is right."""
        fields = list(profile.FIELDS)
        hook = {"object": "page", "callback_url": f"{shop.url}/webhooks/messenger", "active": True}
        graph.answers |= {
            "GET /me": (200, {"id": PAGE, "name": "Linden & Loom"}),
            "GET /debug_token": (200, {"data": self.token()}),
            "GET /me/subscribed_apps": (200, {"data": [{"id": APP, "subscribed_fields": fields}]}),
            "GET /me/messenger_profile": (
                200,
                {"data": [{"get_started": {}, "greeting": [], "ice_breakers": []}]},
            ),
            f"GET /{APP}/subscriptions": (
                200,
                {"data": [hook | {"fields": [{"name": name, "version": "v26.0"} for name in fields]}]},
            ),
        }
        return graph

    def token(self, **more: Any) -> dict[str, Any]:
        scopes = ["pages_messaging", "pages_manage_metadata"]
        return {"app_id": APP, "is_valid": True, "expires_at": 0, "scopes": scopes, **more}

    def test_nothing_is_wrong(self, tmp_path: Path, well: GraphServer):
        done = run(tmp_path, well, "doctor")
        assert (done.returncode, done.stderr) == (0, "")
        assert "PROBLEM" not in done.stdout
        assert done.stdout.endswith("No problem.\n")
        assert "page token" not in done.stdout
        assert "app secret" not in done.stdout.replace("APP_SECRET", "")

    @pytest.mark.parametrize(
        ("call", "answer", "finding"),
        [
            ("GET /me", (400, {"error": {"code": 190, "message": "Session has expired"}}), "access token"),
            ("GET /me", (200, b"\xffgarbage"), "can't be reached"),
            ("GET /me", (503, {}), "can't be reached"),
            ("GET /debug_token", (200, {"data": {"app_id": "1", "is_valid": False}}), "is of another app"),
            ("GET /debug_token", (400, {"error": {"code": 101}}), "MESSENGER_APP_SECRET anew"),
            ("GET /debug_token", (200, {"data": {"app_id": APP, "scopes": []}}), "missing: pages_messaging"),
            ("GET /me/subscribed_apps", (200, {"data": [{"id": "1"}]}), "other apps only"),
            ("GET /me/subscribed_apps", (200, {"data": [{"id": APP}]}), "without messages"),
            (f"GET /{APP}/subscriptions", (200, {"data": []}), "Meta has none"),
            (f"GET /{APP}/subscriptions", (200, {"data": [{"object": "page", "callback_url": "http://127.0.0.1:9/webhooks/messenger"}]}), "can't be reached from here"),
            (f"GET /{APP}/subscriptions", (200, {"data": [{"object": "page", "callback_url": "http://127.0.0.1:9/elsewhere"}]}), "must end in"),
        ],
    )  # fmt: skip
    def test_each_problem_has_a_finding_and_a_remedy(
        self, tmp_path: Path, well: GraphServer, call: str, answer: Any, finding: str
    ):
        well.answers[call] = answer
        problems = [one for one in self.finds(tmp_path, well) if one.mark is Mark.PROBLEM]
        assert all(one.remedy for one in problems)
        assert any(finding in str(one) for one in problems)

    def test_a_wrong_verify_token_is_found_by_calling_our_own_webhook(
        self, tmp_path: Path, well: GraphServer
    ):
        done = run(tmp_path, well, "doctor", MESSENGER_VERIFY_TOKEN="another")
        assert done.returncode == 1
        assert "refuses the verify token" in done.stdout
        assert "→" in done.stdout
        assert "Traceback" not in done.stderr

    def test_missing_settings_are_named(self, tmp_path: Path, graph: GraphServer):
        missing = dict.fromkeys(("MESSENGER_APP_ID", "MESSENGER_APP_SECRET", "MESSENGER_PAGE_TOKEN"), "")
        done = run(tmp_path, graph, "doctor", **missing)
        assert done.returncode == 1
        assert done.stdout.count("is missing") == 3
        assert graph.asked == []

    def test_a_shop_that_has_only_the_web_chat_has_no_problem(self, tmp_path: Path, graph: GraphServer):
        names = ("APP_ID", "APP_SECRET", "PAGE_TOKEN", "VERIFY_TOKEN")
        done = run(tmp_path, graph, "doctor", **{f"MESSENGER_{name}": "" for name in names})
        assert (done.returncode, done.stderr) == (0, "")
        assert "Messenger and Instagram: not used" in done.stdout
        assert "PROBLEM" not in done.stdout
        assert graph.asked == []

    def test_a_token_of_another_page_is_found(self, tmp_path: Path, well: GraphServer):
        env = {"MESSENGER_PAGE_TOKEN": "", "MESSENGER_PAGES": "100200300400999:x"}
        found = [str(one) for one in self.finds(tmp_path, well, **env) if one.mark is Mark.PROBLEM]
        assert any(f"its token is of {PAGE}" in one for one in found)

    def test_a_token_that_ends_soon_is_a_warning(self, tmp_path: Path, well: GraphServer):
        well.answers["GET /debug_token"] = 200, {"data": self.token(expires_at=int(time.time()) + 86400)}
        found = self.finds(tmp_path, well)
        assert [one.found[:10] for one in found if one.mark is not Mark.OK] == ["expires on"]
