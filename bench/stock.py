"""A stock Rasa 3.6 bot with our topics: what `rasa init` and the tutorials give, nothing tuned.

Its pipeline and policies are those that Rasa fills in for `rasa init`, but for the number of epochs: a
network's answers take as long whether it was trained for an hour or for minutes (only its shape counts),
and with our examples the 100 epochs take an hour and more. It learns the English ones alone: it is made
for one language, and cuts words at spaces. Its tracker store is in SQLite, its channel REST,
the order look-up a custom action. The model is kept in `.bench/`, under a hash of what it was made from.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml

from bench.load import Http
from bench.machine import PYTHON, RASA_PYTHON, ROOT, Process, answers, family, free_port, pss, until
from bot import demo
from bot.domain.words import Topic
from bot.store.engine import Store
from bot.training import QUIET

CACHE = ROOT / ".bench"
LOOK_UP = "action_look_up_order"
# Rasa's own script writes out what `rasa train` fills in where a config says nothing.
_FILL_IN = """
import shutil, sys, rasa.cli
from pathlib import Path
from rasa.engine.recipes.default_recipe import DefaultV1Recipe
from rasa.shared.utils.io import read_yaml_file, write_yaml
file = sys.argv[1]
shutil.copy(Path(rasa.cli.__file__).parent / "initial_project" / "config.yml", file)
config, *_ = DefaultV1Recipe.auto_configure(file, read_yaml_file(file))
for part in config["pipeline"] + config["policies"]:
    if "epochs" in part:
        part["epochs"] = int(sys.argv[2])
write_yaml({**config, "assistant_id": "stock"}, file)
"""


def project(folder: Path, epochs: int) -> None:
    """Writes the bot's files."""
    (folder / "data").mkdir(parents=True)
    shutil.copy(ROOT / "data" / "nlu.yml", folder / "data")
    ours = yaml.safe_load((ROOT / "domain.yml").read_text(encoding="utf-8"))
    intents = [intent if isinstance(intent, str) else next(iter(intent)) for intent in ours["intents"]]
    topics = [topic.value for topic in Topic]
    replies = {intent: f"utter_{intent}" if intent in topics else "utter_person" for intent in intents}
    replies[Topic.ORDER_STATUS.value] = LOOK_UP
    rules = [_talk("rule", intent, [(intent, reply)]) for intent, reply in replies.items()]
    rules.append(_talk("rule", "not understood", [("nlu_fallback", "utter_person")]))
    stories = [
        _talk("story", f"{one}, then {other}", [(one, replies[one]), (other, replies[other])])
        for one, other in zip(topics, topics[1:] + topics[:1], strict=True)
    ]
    responses = {
        reply: [{"text": _english(ours["responses"][reply])}]
        for reply in dict.fromkeys(replies.values())
        if reply in ours["responses"]
    }
    responses["utter_person"] = [{"text": "A colleague will get back to you."}]
    domain = {
        "version": "3.1", "intents": intents, "responses": responses, "actions": [LOOK_UP],
        "session_config": {"session_expiration_time": 60, "carry_over_slots_to_new_session": True},
    }  # fmt: skip
    _write(folder / "domain.yml", domain)
    _write(folder / "data" / "rules.yml", {"version": "3.1", "rules": rules})
    _write(folder / "data" / "stories.yml", {"version": "3.1", "stories": stories})
    subprocess.run(
        [RASA_PYTHON, "-W", "ignore", "-c", _FILL_IN, folder / "config.yml", str(epochs)],
        check=True,
        env=os.environ | QUIET,
    )


def _talk(kind: str, name: str, turns: list[tuple[str, str]]) -> dict[str, Any]:
    steps = [step for intent, action in turns for step in ({"intent": intent}, {"action": action})]
    return {kind: name, "steps": steps}


def _english(variations: list[dict[str, Any]]) -> str:
    return str(next(v for v in variations if "condition" not in v)["text"])


def _write(path: Path, content: Any) -> None:
    path.write_text(yaml.safe_dump(content, allow_unicode=True, sort_keys=False), encoding="utf-8")


def trained(epochs: int, say: Any = print) -> tuple[Path, dict[str, Any]]:
    """The model, trained unless it is there; with what is known about its training."""
    scratch = CACHE / f".new-{os.getpid()}"
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        project(scratch, epochs)
        digest = hashlib.sha256()
        for path in sorted(scratch.rglob("*.yml")):
            digest.update(path.name.encode() + path.read_bytes())
        kept = CACHE / f"stock-{digest.hexdigest()[:16]}"
        if not (kept / "facts.yml").exists():
            say(f"training the stock bot, once, {epochs} epochs …")
            start = time.perf_counter()
            subprocess.run(
                ["nice", "-n", "5", RASA_PYTHON, "-W", "ignore", "-m", "rasa", "train", "--out", scratch,
                 "--fixed-model-name", "model", "--domain", "domain.yml", "--config", "config.yml",
                 "--data", "data"],
                check=True, cwd=scratch, env=os.environ | QUIET,
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            )  # fmt: skip
            facts = {
                "seconds": round(time.perf_counter() - start),
                "epochs": epochs,
                "examples": _count(scratch),
            }
            _write(scratch / "facts.yml", facts)
            shutil.rmtree(kept, ignore_errors=True)
            scratch.rename(kept)
        return kept / "model.tar.gz", yaml.safe_load((kept / "facts.yml").read_text())
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _count(folder: Path) -> int:
    texts = (path.read_text(encoding="utf-8") for path in (folder / "data").glob("nlu*.yml"))
    return sum(line.strip().startswith("- ") for text in texts for line in text.splitlines())


class Stock:
    """The stock bot and its action server."""

    def __init__(self, folder: Path, model: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port, actions_port = free_port(), free_port()
        self._folder, self._model, self._actions_port = folder, model, actions_port
        _write(folder / "credentials.yml", {"rest": None})
        store = {"type": "SQL", "dialect": "sqlite", "db": str(folder / "trackers.db")}
        action_endpoint = {"url": f"http://127.0.0.1:{actions_port}/webhook"}
        _write(folder / "endpoints.yml", {"action_endpoint": action_endpoint, "tracker_store": store})
        self._orders = f"sqlite:///{folder / 'shop.db'}"
        orders = Store(self._orders)
        orders.migrate()
        with orders.unit_of_work() as session:
            demo.seed(session)
        orders.close()

    def start(self) -> float:
        """Seconds until it answers."""
        start = time.perf_counter()
        command = [RASA_PYTHON, "-W", "ignore", "-m", "rasa", "run", "--model", self._model]
        command += [
            "--endpoints",
            self._folder / "endpoints.yml",
            "--credentials",
            self._folder / "credentials.yml",
        ]
        command += ["--interface", "127.0.0.1", "--port", str(self.port)]
        actions = [PYTHON, "-m", "bench.stock_actions", str(self._actions_port)]
        self._actions = Process(actions, self._folder / "actions.log", DATABASE_URL=self._orders, **QUIET)
        self._rasa = Process(command, self._folder / "rasa.log", **QUIET)
        url = f"http://127.0.0.1:{self.port}/webhooks/rest/"
        until(lambda: answers(url), 600, self._rasa)
        return time.perf_counter() - start

    def memory(self) -> dict[str, float]:
        """PSS in MB."""
        return {name: pss(family(p.pid)) for name, p in (("rasa", self._rasa), ("actions", self._actions))}

    def pids(self) -> list[int]:
        """Every process of it."""
        return [*family(self._rasa.pid), *family(self._actions.pid)]

    def end(self) -> None:
        """Ends both processes."""
        self._rasa.end()
        self._actions.end()


@asynccontextmanager
async def running(folder: Path, model: Path) -> AsyncIterator[tuple[Stock, float]]:
    """The bot, and how long it took to start."""
    import asyncio

    stock = Stock(folder, model)
    try:
        yield stock, await asyncio.to_thread(stock.start)
    finally:
        await asyncio.to_thread(stock.end)


async def ask(http: Http, customer: str, text: str) -> str:
    """What is said to a message over the REST channel. Raises RuntimeError if nothing is."""
    status, said = await http.post("/webhooks/rest/webhook", {"sender": customer, "message": text})
    if status != 200 or not said:
        raise RuntimeError(f"answered with {status} and {said!r}")
    return " ".join(one["text"] for one in said)
