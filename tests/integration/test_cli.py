"""The command line, as real processes."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from bot import decisions
from bot.processes import free_port
from bot.settings import ROOT, load
from bot.store.engine import Store
from bot.store.tables import Agent, Order

HEADER = "number,email,name,status,carrier,tracking,placed_at,eta,items\n"
ROW = "10023,mina@example.com,Mina,shipped,DHL,JD1,2026-11-19,2026-11-25,Blanket\n"


def run(folder: Path, *arguments: str, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"DATA_DIR": str(folder / "var"), **env}
    return subprocess.run(
        [sys.executable, "-m", "bot", *arguments],
        cwd=ROOT, env=environment, input=stdin, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def store(folder: Path) -> Store:
    return Store(load({"DATA_DIR": str(folder / "var")}).database_url)


@pytest.mark.parametrize(
    "command",
    [(), ("decide",), ("import-orders",), ("add-agent",), ("run",), ("serve",), ("backup",), ("restore",)],
)
def test_every_command_explains_itself(tmp_path: Path, command: tuple[str, ...]):
    done = run(tmp_path, *command, "--help")
    assert done.returncode == 0
    assert "usage:" in done.stdout


def test_orders_are_imported(tmp_path: Path):
    (tmp_path / "orders.csv").write_text(HEADER + ROW)
    done = run(tmp_path, "import-orders", str(tmp_path / "orders.csv"))
    assert (done.returncode, done.stdout) == (0, "1 order imported.\n")
    with store(tmp_path).read() as session:
        assert session.get_one(Order, "10023").email == "mina@example.com"
    (tmp_path / "orders.csv").write_text(HEADER + ROW + ROW.replace("10023", "10024"))
    assert run(tmp_path, "import-orders", str(tmp_path / "orders.csv")).stdout == "2 orders imported.\n"


def test_a_bad_file_is_refused_by_line_without_a_traceback(tmp_path: Path):
    (tmp_path / "orders.csv").write_text(HEADER + ROW + "1,nobody,A,shipped,,,2026-11-19,,x\n")
    done = run(tmp_path, "import-orders", str(tmp_path / "orders.csv"))
    assert done.returncode == 1
    assert done.stderr.startswith("line 3: email 'nobody'")
    with store(tmp_path).read() as session:
        assert session.query(Order).count() == 0


def test_an_agent_is_added_with_a_password_from_standard_input(tmp_path: Path):
    arguments = ("add-agent", "--email", "Anna@shop.example", "--name", "Anna", "--role", "agent")
    assert run(tmp_path, *arguments, stdin="correct horse\n").returncode == 0
    with store(tmp_path).read() as session:
        agent = session.query(Agent).one()
    assert agent.email == "anna@shop.example"
    assert agent.password_hash.startswith("$argon2id$")
    again = run(tmp_path, *arguments, stdin="correct horse\n")
    assert (again.returncode, again.stderr) == (1, "anna@shop.example has an account already.\n")


@pytest.mark.parametrize(
    ("email", "name", "role", "password"),
    [
        ("anna", "Anna", "agent", "correct horse"),
        ("a@shop.example", " ", "agent", "correct horse"),
        ("a@shop.example", "Anna", "agent", "short"),
        ("a@shop.example", "Anna", "agent", ""),
        ("a@shop.example", "Anna", "king", "correct horse"),
    ],
)
def test_a_bad_agent_is_refused(tmp_path: Path, email: str, name: str, role: str, password: str):
    done = run(tmp_path, "add-agent", "--email", email, "--name", name, "--role", role, stdin=password + "\n")
    assert done.returncode != 0
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "line", ["{}", "[]", "x", '{"id": "1"}', '{"id": null, "text": "hi"}', '{"id": "1", "text": 1}']
)
def test_a_bad_line_to_decide_on_is_named_before_anything_is_started(tmp_path: Path, line: str):
    (tmp_path / "in.jsonl").write_text('{"id": "1", "text": "hi"}\n' + line + "\n")
    done = run(tmp_path, "decide", "--in", str(tmp_path / "in.jsonl"), "--out", str(tmp_path / "out.jsonl"))
    assert (done.returncode, done.stderr.split(":")[0]) == (1, "line 2")
    assert not (tmp_path / "out.jsonl").exists()


def test_a_message_to_decide_on_may_hold_any_line_break(tmp_path: Path):
    path = tmp_path / "in.jsonl"
    path.write_text(
        '{"id": "1", "text": "a\u2028b\u0085c"}\r\n\n{"id": 2, "text": ""}', encoding="utf-8", newline=""
    )
    assert [message.text for message in decisions.read_file(path)] == ["a\u2028b\u0085c", ""]


def test_decide_says_what_the_bot_would_do(tmp_path: Path):
    """With the real model: one message of each kind."""
    asked = {
        "returns": "how do i return something that doesn't fit?",
        "order": "where is my order",
        "upset": "this is the THIRD time I write, you people are a disgrace!!! where is my money",
        "person": "can I talk to a real person please",
        "account": "you charged my card twice",
        "weather": "what's the weather like in Paris tomorrow",
        "hello": "hello",
        "empty": "",
        "command": "/ask_person",
        "korean": "주문한 거 언제 와요?",
        "keys": "asdasd!!!",
        "more keys": "qqnbpky abyebdbcp wcq",
        "bot": "ボットですか？",
        "missing": "My order 10021 is marked as delivered, but there is no parcel",
        "cancel": "cancel order 10023, mina@example.com",
        "german": "Ich möchte bitte wissen, wo meine Bestellung bleibt",
    }
    (tmp_path / "in.jsonl").write_text(
        "".join(json.dumps({"id": k, "text": v}) + "\n" for k, v in asked.items())
    )
    (tmp_path / "orders.csv").write_text(HEADER + ROW)
    done = run(tmp_path, "decide", "--in", str(tmp_path / "in.jsonl"), "--out", str(tmp_path / "out.jsonl"))
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == list(asked)
    assert all(
        list(line) == ["id", "action", "topic", "reason", "confidence", "language", "reply"] for line in lines
    )
    got = {
        line["id"]: (line["action"], line["topic"] if line["action"] != "hand_off" else line["reason"])
        for line in lines
    }
    assert got["returns"] == ("answer", "return_policy")
    assert got["order"] == ("ask", "order_status")
    assert got["upset"] == ("hand_off", "empathy")
    assert got["person"] == ("hand_off", "asked")
    assert got["account"] == ("hand_off", "account")
    assert got["weather"] == ("hand_off", "unsure")
    assert got["hello"][0] == "ask"
    assert got["empty"][0] == got["command"][0] == "hand_off"
    assert got["korean"] == ("ask", "order_status")
    assert got["keys"] == got["more keys"] == ("hand_off", "unsure")
    assert got["bot"] == ("hand_off", "asked")
    assert got["missing"] == got["cancel"] == ("hand_off", "account")
    assert got["german"] == ("hand_off", "unreadable")
    replies = {line["id"]: line["reply"] for line in lines}
    assert all("automated" in reply for id_, reply in replies.items() if id_ not in ("korean", "bot"))
    assert "자동" in replies["korean"]
    assert "私は人ではなくボットです" in replies["bot"]


class TestStarting:
    """A wrong setting is one clear line and a non-zero exit."""

    def refused(self, folder: Path, command: str, **env: str) -> str:
        done = run(folder, command, **env)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1, done.stderr
        return done.stderr

    @pytest.mark.parametrize("command", ["run", "serve"])
    def test_a_taken_port_is_named(self, tmp_path: Path, command: str):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            assert "PORT" in self.refused(tmp_path, command, PORT=str(port))

    def test_an_unwritable_folder_is_named(self, tmp_path: Path):
        (tmp_path / "var").touch()
        assert "DATA_DIR" in self.refused(tmp_path, "run")

    def test_a_wrong_setting_is_named(self, tmp_path: Path):
        assert "BURST_SECONDS" in self.refused(tmp_path, "run", BURST_SECONDS="soon")

    @pytest.mark.parametrize("command", ["run", "serve"])
    def test_a_database_that_is_none_is_named(self, tmp_path: Path, command: str):
        (tmp_path / "shop.db").write_bytes(b"not a database" * 100)
        ports = {name: str(free_port()) for name in ("PORT", "RASA_PORT", "ACTIONS_PORT")}
        message = self.refused(tmp_path, command, DATABASE_URL=f"sqlite:///{tmp_path / 'shop.db'}", **ports)
        assert "DATABASE_URL" in message
