"""Everything that can happen to a message, in every order that Hypothesis thinks of, on real storage.

The code is the product's own, `turns.work` and `delivery.deliver` included: each worker stands still at
every step, until the machine lets it go on, kills it there, or kills it in the middle of its transaction.
"""

import asyncio
import contextlib
import itertools
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import Phase, settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy.orm import Session

from bot import delivery, inbox, turns
from bot.channels import messenger
from bot.channels.graph import Answer, Outcome
from bot.desk import conversations as desk
from bot.domain.errors import Conflict, NotAllowed
from bot.domain.rule import Action, Context, Proposal
from bot.domain.words import Author, Channel, State, Status
from bot.filing import Times
from bot.services import Services
from bot.store.engine import Store
from bot.store.tables import Agent, Conversation, InboxItem, Message, Table
from tests.meta import APP, SECRET, Sent, said, webhook
from tests.support import PlainBrain, Shop, settings_for

CUSTOMERS = ["messenger-1", "messenger-2", "web-1"]
TEXTS = ["return_policy", "invoice", "upset", "mumble", "settled"]
WORKERS = ["turn-1", "turn-2", "send-1", "send-2"]
FATES = ["lives", "lives", "lives", "lives", "dies before its commit", "dies after its commit"]
LONG = "I'm here. " * 250  # two messages on Messenger
MOODS = [Outcome.SENT, Outcome.SENT, Outcome.UNKNOWN, Outcome.RETRY]
HAPPENS = ["an edit", "a lease that ends", "another message", "a take"]  # in the middle of a turn
AGENTS = ["Anna", "Ben"]
VERBS = ["take", "take", "answer", "give back", "give back", "resolve"]
SECONDS = [0.3, 2, 61, 400, 90_000, -3_600]  # a burst, a lease, an outbox, a window, a clock set back
at_work: ContextVar["Worker"] = ContextVar("at_work")


class Killed(BaseException):
    """`kill -9`: no handler of ours may see it."""


class MortalStore(Store):
    """The real store, whose caller can be killed around its commit."""

    fate = "lives"

    @contextlib.contextmanager
    def unit_of_work(self, durable: bool = True, urgent: bool = False) -> Iterator[Session]:
        with super().unit_of_work(durable, urgent) as session:
            yield session
            if self.fate == "dies before its commit":
                raise Killed
        if self.fate == "dies after its commit":
            raise Killed


class Worker:
    """One of the product's own loops, a step at a time."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, step: Callable[[], Any], watch: Callable[..., Any]
    ) -> None:
        self._loop, self.watch = loop, watch
        self._ends = False
        self._here, self._go = asyncio.Event(), asyncio.Event()
        at_work.set(self)
        self.task: asyncio.Task[Any] = loop.create_task(step())
        self._until_it_stands_still()

    async def gate(self) -> None:
        if self._ends:
            return  # what it does on its way out, it does at once
        self._here.set()
        await self._go.wait()
        self._go.clear()

    def ends(self) -> None:
        self._ends = True
        self.task.cancel()

    def goes_on(self) -> None:
        self._here.clear()
        self._go.set()
        self._until_it_stands_still()

    def _until_it_stands_still(self) -> None:
        async def still() -> None:
            here = asyncio.ensure_future(self._here.wait())
            await asyncio.wait([here, self.task], return_when=asyncio.FIRST_COMPLETED)
            here.cancel()

        self._loop.run_until_complete(still())

    @property
    def is_done(self) -> bool:
        """Whether it ended or was killed. Raises whatever else it died of."""
        if self.task.done() and (error := self.task.exception()) and not isinstance(error, Killed):
            raise error
        return self.task.done()


async def in_steps[T](function: Callable[..., T], *args: Any, **more: Any) -> T:
    """Stands in for `run_in_threadpool`."""
    worker = at_work.get()
    await worker.gate()
    return worker.watch(function, *args, **more)


class SteppedCourier(delivery.Courier):
    """Goes off in the worker's own steps."""

    def __init__(self, services: Services, graph: Any, most: int) -> None:
        super().__init__(services, graph, most)
        self.taken: list[turns.Reply] = []

    def sends(self, reply: turns.Reply) -> None:
        self.taken.append(reply)


class SteppedBrain(PlainBrain):
    """Takes its time, and never knows when to stop."""

    async def read_and_reply(self, key: str, text: str, context: Context) -> Proposal:
        await at_work.get().gate()
        proposal = await super().read_and_reply(key, text, context)
        silent = proposal.action in (Action.CLOSE, Action.WAIT)
        return proposal if silent else replace(proposal, text=proposal.text or "And another thing.")


class PathOfAMessage(RuleBasedStateMachine):
    """See the module."""

    fresh_store: Callable[[], MortalStore]  # set by the test
    folder: Path

    @initialize(
        happens=strategies.permutations(HAPPENS),
        steps=strategies.integers(1, 2),
        seed=strategies.integers(0, 2**32),
    )
    def opens(self, happens: list[str], steps: int, seed: int) -> None:
        """A shop in the middle of its day. Hypothesis likes its runs short, and what goes wrong takes many
        steps; so each begins with what breaks promises most easily, and with a minute of anything.
        """
        self.loop = asyncio.new_event_loop()
        self.store = type(self).fresh_store()
        self.shop = Shop(self.store, settings_for(self.folder), SteppedBrain())
        self.meta = settings_for(
            self.folder, MESSENGER_APP_ID=APP, MESSENGER_APP_SECRET=SECRET, MESSENGER_PAGE_TOKEN="t"
        ).messenger
        self.workers: dict[str, Worker] = {}
        self.ids = itertools.count(1)
        self.travelling: dict[str, inbox.Incoming] = {}
        self.delivered: dict[str, inbox.Incoming] = {}
        self.accepted: list[str] = []
        self.sent: list[Sent] = []
        self.mood = Outcome.SENT
        self.states: dict[int, State] = {}
        self.handled: dict[int, Any] = {}
        self.bots: set[int] = set()
        self.taken: set[int] = set()
        self.broken: list[str] = []
        for who in CUSTOMERS:  # something to begin with
            self.writes(who, "return_policy")
        self._accept(list(self.travelling.values()))
        self.shop.file()
        self.time_passes(2)
        for who, what in zip(itertools.cycle(CUSTOMERS), happens, strict=False):
            self.stands_still_in_a_turn(who, what, steps, "invoice")
            self.promises_hold()
        self.a_busy_minute(seed)

    # What happens -------------------------------------------------------------------------------

    @rule(who=strategies.sampled_from(CUSTOMERS), text=strategies.sampled_from(TEXTS))
    def writes(self, who: str, text: str) -> None:
        name = f"m-{next(self.ids)}"
        if who.startswith("web"):
            event = inbox.Incoming(
                Channel.WEB, "web", who, name, inbox.Kind.MESSAGE, {"text": text}, self.shop.now
            )
            self._accept([event])  # a page waits for the answer before it sends the next
        else:
            body = webhook(said(who, text, name, self.shop.now.timestamp()))
            (self.travelling[name],) = messenger.parse(self.meta, body)

    @rule(data=strategies.data(), fate=strategies.sampled_from(FATES))
    def webhook_comes(self, data: strategies.DataObject, fate: str) -> None:
        """New and old ones, shuffled and batched; one that wasn't acknowledged comes again."""
        known = [*self.travelling.values(), *self.delivered.values()]
        if not known:
            return
        batch = data.draw(strategies.lists(strategies.sampled_from(known), min_size=1, max_size=4))
        self._webhook(batch, fate)

    def _webhook(self, batch: list[inbox.Incoming], fate: str) -> None:
        if batch and self._fated(fate, lambda: self._accept(batch)):
            for event in batch:
                self.travelling.pop(event.external_id, None)
                self.delivered[event.external_id] = event

    @rule(data=strategies.data())
    def echo_comes(self, data: strategies.DataObject) -> None:
        if self.sent:
            sent = data.draw(strategies.sampled_from(self.sent))
            self._accept(messenger.parse(self.meta, webhook(sent.echo())))

    @rule(data=strategies.data(), text=strategies.sampled_from(TEXTS))
    def edits(self, data: strategies.DataObject, text: str) -> None:
        known = sorted(name for name, event in self.delivered.items() if event.channel is Channel.MESSENGER)
        if known:
            self._edit(data.draw(strategies.sampled_from(known)), text)

    def _edit(self, name: str, text: str) -> None:
        event = said(self.delivered[name].thread, "", name, self.shop.now.timestamp())
        edit = {k: v for k, v in event.items() if k != "message"} | {
            "message_edit": {"mid": name, "text": text}
        }
        self._accept(messenger.parse(self.meta, webhook(edit)))
        self.shop.file()

    @rule(fate=strategies.sampled_from(FATES))
    def is_filed(self, fate: str) -> None:
        self._fated(fate, self.shop.file)

    @rule(
        name=strategies.sampled_from(WORKERS),
        fate=strategies.sampled_from(FATES),
        mood=strategies.sampled_from(MOODS),
        down=strategies.sampled_from([False, False, False, True]),
        steps=strategies.integers(1, 4),
    )
    def works(self, name: str, fate: str, mood: Outcome, down: bool, steps: int) -> None:
        self.mood, self.shop.brain.down = mood, down
        for _ in range(steps):
            if not self._fated(fate, lambda: self._step(name)):
                return

    @rule(
        who=strategies.sampled_from(CUSTOMERS),
        what=strategies.sampled_from(HAPPENS),
        steps=strategies.integers(1, 2),
        text=strategies.sampled_from(TEXTS),
    )
    def stands_still_in_a_turn(self, who: str, what: str, steps: int, text: str) -> None:
        """What chance alone seldom brings about: a worker has a turn while something happens to it."""
        if what == "an edit" and who.startswith("web"):
            who = "messenger-1"  # the web chat knows no edits
        self.writes(who, text)
        self._webhook(list(self.travelling.values()), "lives")
        self.shop.file()
        self.time_passes(2)
        self.workers.pop("turn-1", None)
        for _ in range(steps):  # it claims, and has it read
            self._step("turn-1")
        if what == "an edit" and (named := [n for n in self.delivered if n.startswith("m-")]):
            for name in named[-3:]:
                self._edit(name, "store_hours")
        elif what == "a lease that ends":
            self.time_passes(61)
            self._step("turn-2")
        elif what == "another message":
            self.writes(who, "invoice")
            self._webhook(list(self.travelling.values()), "lives")
            self.shop.file()
        elif what == "a take":
            self.agent_acts(who, "Anna", "take", "lives")
        while "turn-1" in self.workers and self._step("turn-1"):
            pass

    @rule(name=strategies.sampled_from(WORKERS))
    def is_killed(self, name: str) -> None:
        self.workers.pop(name, None)

    @rule(seconds=strategies.sampled_from(SECONDS))
    def time_passes(self, seconds: float) -> None:
        self.shop.now += timedelta(seconds=seconds)

    @rule(fate=strategies.sampled_from(FATES))
    def falls_silent(self, fate: str) -> None:
        self._fated(fate, lambda: inbox.close_idle(self.store, self.shop.now, self.shop.settings.idle))

    @rule(
        who=strategies.sampled_from(CUSTOMERS),
        agent=strategies.sampled_from(AGENTS),
        verb=strategies.sampled_from(VERBS),
        fate=strategies.sampled_from(FATES),
    )
    def agent_acts(self, who: str, agent: str, verb: str, fate: str) -> None:
        if not self.shop.conversations(who):
            return
        verbs = {
            "take": lambda: self.shop.takes(agent, who),
            "answer": lambda: self.shop.answers(agent, LONG if agent == "Ben" else "Hi.", who),
            "give back": lambda: self.shop.does(agent, desk.give_back, who),
            "resolve": lambda: self.shop.does(agent, desk.resolve, who),
        }
        with contextlib.suppress(Conflict, NotAllowed):
            self._fated(fate, verbs[verb])
        if verb == "give back":  # what nobody answered is open again
            for message in self.shop.messages(who):
                if message.handled_at is None:
                    self.handled.pop(message.id, None)

    @rule(seed=strategies.integers(0, 2**32))
    def a_busy_minute(self, seed: int) -> None:
        """A burst of it all."""
        random = Random(seed)
        for _ in range(40):
            fate, who = random.choice(FATES), random.choice(CUSTOMERS)
            act = random.choices(range(7), [3, 3, 2, 12, 3, 3, 2])[0]
            if act == 0:
                self.writes(who, random.choice(TEXTS))
            elif act == 1 and (known := [*self.travelling.values(), *self.delivered.values()]):
                self._webhook(random.choices(known, k=random.randint(1, 4)), fate)
            elif act == 2:
                self.is_filed(fate)
            elif act == 3:
                mood, down = random.choice(MOODS), random.random() < 0.1
                self.works(random.choice(WORKERS), fate, mood, down, random.randint(1, 4))
            elif act == 4:
                self.time_passes(random.choices(SECONDS, [1, 20, 3, 2, 1, 1])[0])
            elif act == 6 and (named := [n for n in self.delivered if n.startswith("m-")]):
                self._edit(random.choice(named), random.choice(TEXTS))
            elif act == 5:
                self.agent_acts(who, random.choice(AGENTS), random.choice(VERBS), fate)
            self.promises_hold()

    # What must hold -----------------------------------------------------------------------------

    @invariant()
    def promises_hold(self) -> None:
        if not hasattr(self, "store"):
            return
        with self.store.read() as session:
            rows = session.scalars(sa.select(Message).order_by(Message.id)).all()
            states = {c.id: c.state for c in session.scalars(sa.select(Conversation))}
            items = Counter(session.scalars(sa.select(InboxItem.external_id)))
            failed = set(session.scalars(sa.select(Conversation.turn_error)))
        assert failed <= {None, "the worker died"}, "a turn failed"
        assert set(items.values()) <= {1}, "an event was stored twice"
        customers = [m.external_id for m in rows if m.author is Author.CUSTOMER]
        assert max(Counter(customers).values(), default=1) == 1, "a message was filed twice"
        assert set(customers) <= set(self.accepted)
        replies = Counter(m.conversation_id for m in rows if m.author is Author.BOT)
        assert max(replies.values(), default=0) <= 2, "a third reply"
        for message in rows:
            if message.author is Author.BOT and message.id not in self.bots:
                before = self.states.get(message.conversation_id, State.BOT)
                assert before is not State.AGENT, "the bot spoke while a person held it"
                self.bots.add(message.id)
            if message.author is Author.CUSTOMER and message.id in self.handled:
                assert message.handled_at == self.handled[message.id], "a message was handled twice"
            if message.author is Author.CUSTOMER and message.handled_at:
                self.handled[message.id] = message.handled_at
        self.taken |= {id_ for id_, state in states.items() if state is State.AGENT}
        self.states = states
        places = {m.public_id: m.id for m in rows}
        for who in CUSTOMERS:
            names = [s.metadata for s in self.sent if s.customer == who]
            assert len(names) == len(set(names)), "a reply, or a part of it, was sent twice"
            out = [(places[name.partition("/")[0]], not name.endswith("/1")) for name in names]
            assert out == sorted(out), "replies were sent out of order"

    def teardown(self) -> None:
        """In the end everything is worked off, and then everything must be accounted for."""
        if not hasattr(self, "store"):
            return
        try:
            self._all_is_worked_off()
            self.promises_hold()
            self._nothing_is_missing()
        finally:
            for worker in self.workers.values():
                worker.ends()
            with contextlib.suppress(BaseException):
                tasks = [worker.task for worker in self.workers.values()]
                self.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            self.loop.close()
            self.store.close()

    def _all_is_worked_off(self) -> None:
        self.shop.brain.down, self.mood = False, Outcome.SENT
        self._accept([*self.travelling.values(), *self.delivered.values()])
        for _ in range(8):
            self.shop.now += timedelta(minutes=7)
            self.shop.file()
            for name in WORKERS:
                while self._step(name):
                    pass
            for sent in self.sent:
                self._accept(messenger.parse(self.meta, webhook(sent.echo())))
        self.shop.file()

    def _nothing_is_missing(self) -> None:
        out = {sent.metadata for sent in self.sent}
        for who in CUSTOMERS:
            rows = self.shop.messages(who)
            wrote = [m.external_id for m in rows if m.author is Author.CUSTOMER]
            mine = [e for e in self.accepted if self._who(e) == who]
            assert wrote == mine, "messages were lost, or filed out of order"
            # A turn whose workers died five times is a person's, as it is: its messages stay open for them.
            given_up = {
                c.id for c in self.shop.conversations(who) if c.turn_error and c.state is State.WAITING
            }
            left = [m for m in rows if not m.handled_at and m.conversation_id not in given_up]
            assert not left, "a message was never handled"
            for conversation in self.shop.conversations(who):
                if conversation.state is State.BOT and conversation.id not in self.taken:
                    last = [m for m in rows if m.conversation_id == conversation.id][-1]
                    assert last.author is Author.BOT, "a customer was neither answered nor handed over"
            for message in rows:
                if message.author is Author.CUSTOMER or who.startswith("web"):
                    continue
                was_sent = message.public_id in out
                assert message.status in (Status.SENT, Status.FAILED, Status.UNKNOWN)
                assert (message.status is Status.SENT) == was_sent, "the outbox says what isn't so"

    # How ----------------------------------------------------------------------------------------

    def _accept(self, events: list[inbox.Incoming]) -> None:
        fresh = [e.external_id for e in events if e.kind is inbox.Kind.MESSAGE]
        self.owners = getattr(self, "owners", {}) | {e.external_id: e.thread for e in events}
        try:
            if len(events) == 1 and events[0].kind is inbox.Kind.MESSAGE:
                settings = self.shop.settings
                inbox.take_in(self.store, events[0], Times(self.shop.now, settings.burst, settings.idle))
            else:
                inbox.accept(self.store, events, self.shop.now)
        finally:
            with self.store.read() as session:
                stored = set(session.scalars(sa.select(InboxItem.external_id)))
            for name in fresh:
                if name in stored and name not in self.accepted:
                    self.accepted.append(name)

    def _who(self, external_id: str) -> str:
        return str(self.owners[external_id])

    def _fated(self, fate: str, act: Callable[[], object]) -> bool:
        """Whether whoever did it lived to tell."""
        self.store.fate = fate
        try:
            act()
        except Killed:
            return False
        finally:
            self.store.fate = "lives"
        return True

    def _step(self, name: str) -> bool:
        """One step of a worker; whether it had something to do."""
        if name not in self.workers:
            step = self._turn if name.startswith("turn") else self._delivery
            self.workers[name] = Worker(self.loop, step, self._watch)
        worker = self.workers[name]
        worker.goes_on()
        assert not self.broken
        if not worker.is_done:
            return True
        del self.workers[name]
        return not worker.task.exception() and bool(worker.task.result())

    def _watch(self, function: Callable[..., Any], *args: Any, **more: Any) -> Any:
        """A turn handles just what was read, as it was read, by whoever has its lease."""
        if function is not turns.settle:
            return function(*args, **more)
        turn: turns.Turn = args[1]
        before = self._open_messages()
        result = function(*args, **more)
        after = self._open_messages()
        if handled := {id_: text for id_, text in before.items() if id_ not in after}:
            with self.store.read() as session:
                lease_no = session.get_one(Conversation, turn.conversation_id).lease_no
            # The worker would take an AssertionError for a turn that failed, and carry on.
            if set(handled) != set(turn.message_ids):
                self.broken.append("what wasn't read was called handled")
            if Counter(handled.values()) != Counter(turn.text.split("\n")):
                self.broken.append("it was decided on other words")
            if lease_no != turn.lease_no:
                self.broken.append("a worker that had lost its lease decided")
        return result

    def _open_messages(self) -> dict[int, str]:
        with self.store.read() as session:
            rows = session.execute(sa.select(Message.id, Message.text).where(Message.handled_at.is_(None)))
            return {row.id: row.text for row in rows}

    async def _turn(self) -> bool:
        courier = SteppedCourier(self.shop.services, self, most=1)
        worked = await turns.work(self.shop.services, courier=courier)
        for reply in courier.taken:
            await courier.goes(reply)
        return worked

    async def _delivery(self) -> bool:
        return await delivery.deliver(self.shop.services, self)  # type: ignore[arg-type]

    async def send(
        self,
        _account: str,
        thread: str,
        text: str,
        message_id: str,
        _buttons: list[dict[str, str]],
        _is_late: bool = False,
    ) -> Answer:
        """Stands in for Graph: the moment of the call is the moment of the sending."""
        mood = self.mood
        mid = f"out-{next(self.ids)}"
        if mood is not Outcome.RETRY:
            with self.store.read() as session:
                message = session.scalars(
                    sa.select(Message).where(Message.public_id == message_id.partition("/")[0])
                ).one()
                silenced = message.author is Author.BOT and message.conversation.state is State.AGENT
                assert not silenced, "the bot spoke over a person"
            self.sent.append(Sent(thread, text, message_id, mid, self.shop.now.timestamp()))
        await at_work.get().gate()
        return Answer(mood, mid if mood is Outcome.SENT else "…")


def test_whatever_happens_nothing_is_lost_doubled_or_said_over_a_person(
    migrated_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for module in (turns, delivery):
        monkeypatch.setattr(module, "run_in_threadpool", in_steps)
    url = settings_for(tmp_path, DATABASE_URL=migrated_url).database_url
    template = Store(url)
    for name in AGENTS:
        Shop(template, settings_for(tmp_path)).agent(name)
    template.close()
    numbers = itertools.count()

    def fresh() -> MortalStore:
        store = MortalStore(url)
        if store.is_sqlite:
            copy = tmp_path / f"copy-{next(numbers)}.db"
            shutil.copy(tmp_path / "shop.db", copy)
            return MortalStore(f"sqlite:///{copy}")
        names = ", ".join(t.name for t in Table.metadata.sorted_tables if t is not Agent.__table__)
        with store.unit_of_work() as session:
            session.execute(sa.text(f"TRUNCATE {names} RESTART IDENTITY CASCADE"))  # with the search index
        return store

    machine = type("Machine", (PathOfAMessage,), {"fresh_store": staticmethod(fresh), "folder": tmp_path})
    told_at_once = settings(phases=[Phase.generate])  # to shrink a busy minute takes minutes and helps nobody
    run_state_machine_as_test(machine, settings=told_at_once)
