"""A shop to write promises against: the real rule, the real database, a clock that obeys.

Only the reading of a text is replaced, by words that stand for what Rasa would have read; Rasa
itself is tested in tests/integration/test_rasa.py and tests/e2e.
"""

import asyncio
import itertools
import math
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa
import uvicorn

from bot import inbox, live, turns
from bot.app import Server as WebServer
from bot.app import build
from bot.brain import Reading as Read
from bot.desk import agents
from bot.desk import conversations as desk
from bot.domain import rule
from bot.domain.errors import BrainDown
from bot.domain.rule import Action, Context, Found, Proposal, Reading
from bot.domain.words import Author, Button, Channel, Reason, Remark, State, Topic
from bot.live import Hub
from bot.services import Services
from bot.settings import Settings, load
from bot.store import queries
from bot.store.engine import Store
from bot.store.tables import Agent, Conversation, HandOff, Message

MONDAY_NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
MEANS = {word.value: word for word in (*Topic, *Remark)}


def settings_for(folder: Path, **values: str) -> Settings:
    """Settings as a shop would have them, in a folder of the test's own."""
    return load({"DATA_DIR": str(folder), "SECRET_KEY": "for-tests-" * 4, **values})


class PlainBrain:
    """Reads texts made of words: "order_status 10023 mina@example.com", "upset", "mumble"."""

    def __init__(self) -> None:
        self.down = False
        self.asked: list[tuple[str, str, Context]] = []
        self.orders = {("10023", "mina@example.com")}
        self.before_answer: Any = None

    def outage_reply(self, context: Context, language: str) -> str:
        return f"outage {language}"

    async def is_ready(self) -> bool:
        return not self.down

    async def close(self) -> None:
        pass

    async def read(self, text: str) -> Read:
        if self.down:
            raise BrainDown("It is down.")
        topics = [MEANS[word] for word in MEANS if word in text.split()]
        return Read(tuple((topic, 0.9) for topic in topics if isinstance(topic, Topic)))

    async def encode(self, texts: list[str]) -> list[list[float]]:
        """Texts with the same letters mean the same here."""
        if self.down:
            raise BrainDown("It is down.")
        counted = [
            [float(text.lower().count(letter)) for letter in "abcdefghijklmnopqrstuvwxyz"] for text in texts
        ]
        return [[n / (math.hypot(*counts) or 1.0) for n in counts] for counts in counted]

    async def read_and_reply(self, key: str, text: str, context: Context) -> Proposal:
        self.asked.append((key, text, context))
        if self.before_answer:
            await asyncio.to_thread(self.before_answer)
        if self.down:
            raise BrainDown("It is down.")
        return self._propose(text, context)

    def _propose(self, text: str, context: Context) -> Proposal:
        words = text.split()
        reading = Reading(
            intent=next((MEANS[word] for word in MEANS if word in words), None),  # topics come first
            confidence=0.9,
            upset="upset" in words,
            readable="привет" not in words,
            order_number=next((word for word in words if word.isdigit()), None),
            email=next((word for word in words if "@" in word), None),
        )
        decision = rule.decide(reading, context)
        if decision.action is Action.LOOK_UP:
            pair = (
                reading.order_number or context.order_number or "",
                reading.email or context.email or context.verified_email or "",
            )
            found = Found.FOUND if pair in self.orders else Found.NOT_FOUND
            decision = rule.decide(replace(reading, found=found), context)
        silent = decision.action in (Action.CLOSE, Action.WAIT) or context.replies_used >= 2
        what = decision.reason or decision.detail or decision.topic
        return Proposal(
            action=decision.action,
            text="" if silent else f"{decision.action.value} {what.value if what else ''}",
            topic=decision.topic,
            reason=decision.reason,
            detail=decision.detail,
            confidence=reading.confidence,
            buttons=(("That helps", Button.SETTLED),) if decision.action is Action.ANSWER else (),
            order_number=reading.order_number,
            email=reading.email,
            tone=("upset" if reading.upset else "calm") if reading.readable else None,
            words="upset" if reading.upset and decision.reason is Reason.EMPATHY else None,
            settled=reading.intent is Remark.SETTLED or context.pressed is Button.SETTLED,
        )


@dataclass
class Shop:
    """One shop in a test. Time passes only when told to."""

    store: Store
    settings: Settings
    brain: PlainBrain = field(default_factory=PlainBrain)
    now: datetime = MONDAY_NOON
    _ids: Any = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.services = Services(self.settings, self.store, self.brain, Hub(self.store), lambda: self.now)

    def writes(self, text: str, who: str = "mina", **more: Any) -> str:
        """A customer's message arrives; returns its public id."""
        event = inbox.Incoming(
            channel=more.pop("channel", Channel.WEB),
            account=more.pop("account", "web"),
            thread=who,
            external_id=more.pop("external_id", None) or f"{who}-{next(self._ids)}",
            kind=more.pop("kind", inbox.Kind.MESSAGE),
            payload={"text": text, **more},
            at=self.now,
        )
        inbox.accept(self.store, [event], self.now)
        self.file()
        return event.public_id

    def file(self) -> None:
        while inbox.file_all(self.store, self.now, self.settings.burst, self.settings.idle):
            pass

    def passes(self, **time: float) -> None:
        """Time passes, and the workers work."""
        self.now += timedelta(**time)
        self.work()

    def work(self) -> None:
        while asyncio.run(turns.work(self.services)):
            pass

    def hears(self, text: str, who: str = "mina", **more: Any) -> str | None:
        """A customer writes and waits for quiet; returns the bot's reply, if there is one."""
        before = len(self.replies(who))
        self.writes(text, who, **more)
        self.passes(seconds=2)
        after = self.replies(who)
        return after[-1] if len(after) > before else None

    def replies(self, who: str = "mina") -> list[str]:
        """The bot's replies to this customer, in all conversations."""
        return [m.text for m in self.messages(who) if m.author is Author.BOT]

    def messages(self, who: str = "mina") -> list[Message]:
        with self.store.read() as session:
            identity = session.scalar(sa.select(queries.Identity).where(queries.Identity.thread == who))
            return list(
                session.scalars(
                    sa.select(Message)
                    .join(Message.conversation)
                    .where(Conversation.identity_id == (identity.id if identity else -1))
                    .order_by(Message.id)
                )
            )

    def conversations(self, who: str = "mina") -> list[Conversation]:
        with self.store.read() as session:
            return list(
                session.scalars(
                    sa.select(Conversation)
                    .join(Conversation.identity)
                    .where(queries.Identity.thread == who)
                    .order_by(Conversation.id)
                )
            )

    def conversation(self, who: str = "mina") -> Conversation:
        return self.conversations(who)[-1]

    def state(self, who: str = "mina") -> State:
        return self.conversation(who).state

    def reason(self, who: str = "mina") -> str | None:
        with self.store.read() as session:
            found = queries.open_hand_off(session, self.conversation(who).id)
            return found.reason.value if found else None

    def hand_offs(self, who: str = "mina") -> list[HandOff]:
        with self.store.read() as session:
            query = sa.select(HandOff).where(HandOff.conversation_id == self.conversation(who).id)
            return list(session.scalars(query.order_by(HandOff.id)))

    def agent(self, name: str) -> Agent:
        with self.store.unit_of_work() as session:
            email = f"{name.lower()}@shop.example"
            found = session.scalar(sa.select(Agent).where(Agent.email == email))
            return found or agents.add_agent(session, email, name, "agent", "correct horse", self.now)

    def does(self, name: str, verb: Any, who: str = "mina", **more: Any) -> Any:
        """An agent does something with the customer's newest conversation."""
        agent = self.agent(name)
        with self.store.unit_of_work() as session:
            return verb(
                session, self.conversation(who).id, session.get_one(Agent, agent.id), now=self.now, **more
            )

    def takes(self, name: str, who: str = "mina") -> None:
        self.does(name, desk.take, who)

    def answers(self, name: str, text: str, who: str = "mina", client_id: str | None = None) -> Message:
        message: Message = self.does(
            name, desk.answer, who, client_id=client_id or f"a-{next(self._ids)}", text=text
        )[0]
        return message

    def events(self) -> list[live.Happened]:
        with self.store.read() as session:
            return live.since(session, 0)


class Server:
    """The real bot process's application on a real port, with `PlainBrain` behind it."""

    def __init__(self, settings: Settings) -> None:
        self.brain = PlainBrain()
        self.settings = settings
        self.app = build(settings, self.brain)
        self.services: Services = self.app.state.services
        config = uvicorn.Config(self.app, port=0, log_config=None, timeout_graceful_shutdown=1)
        self._server = WebServer(config, self.services.hub)
        self._thread = threading.Thread(target=self._server.run)

    def __enter__(self) -> "Server":
        self._thread.start()
        wait_for(lambda: self._server.started)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.http = httpx.Client(base_url=self.url, timeout=20, trust_env=False)
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()
        self._server.should_exit = True
        self._thread.join(20)
        assert not self._thread.is_alive()

    def agent(self, name: str, role: str = "agent") -> "AtDesk":
        with self.services.store.unit_of_work() as session:
            email = f"{name.lower()}@shop.example"
            agents.add_agent(session, email, name, role, "correct horse", self.services.clock())
        return AtDesk(self.http, email)

    def visitor(self) -> "Visitor":
        return Visitor(self.http)


class Visitor:
    """A customer in the web chat, over HTTP."""

    def __init__(self, http: httpx.Client, token: str | None = None) -> None:
        self.http = http
        self.token = token or http.post("/api/chat/sessions", json={}).json()["token"]
        self.headers = {"Authorization": f"Bearer {self.token}"}

    def posts(self, text: str, client_id: str | None = None, **more: Any) -> httpx.Response:
        body = {"client_id": client_id or uuid.uuid4().hex, "text": text, **more}
        return self.http.post("/api/chat/messages", json=body, headers=self.headers)

    def history(self) -> Any:
        return self.http.get("/api/chat/messages", headers=self.headers).json()

    def texts(self, author: str) -> list[str]:
        return [m["text"] for m in self.history()["messages"] if m["author"] == author]

    def state(self) -> str:
        return str(self.history()["status"]["state"])


class AtDesk:
    """An agent at the desk's JSON API."""

    def __init__(self, http: httpx.Client, email: str) -> None:
        self.http = http
        login = http.post("/api/desk/login", json={"email": email, "password": "correct horse"})
        self.headers = {"Authorization": f"Bearer {login.json()['token']}"}

    def queue(self, state: str = "waiting") -> list[dict[str, Any]]:
        found = self.http.get(f"/api/desk/conversations?state={state}", headers=self.headers)
        rows: list[dict[str, Any]] = found.json()["conversations"]
        return rows

    def does(self, verb: str, conversation_id: int, **body: Any) -> httpx.Response:
        path = f"/api/desk/conversations/{conversation_id}/{verb}"
        return self.http.post(path, json=body, headers=self.headers)

    def writes(self, verb: str, conversation_id: int, text: str) -> httpx.Response:
        return self.does(verb, conversation_id, client_id=uuid.uuid4().hex, text=text)


def wait_for[T](condition: Callable[[], T], seconds: float = 20) -> T:
    """Waits until a condition holds, and returns what it returned."""
    deadline = time.monotonic() + seconds
    while True:
        if result := condition():
            return result
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)
