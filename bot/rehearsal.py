"""Before the first customer comes: the path of a message once through, and nothing of it stays.

Statements are put together when they are first used, which takes a quarter of a second in all. Whoever
writes first after a start shouldn't wait for it, and least of all a hundred webhooks at once.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import structlog
from sqlalchemy.orm import Session

from bot import inbox, turns
from bot.channels.graph import Graph
from bot.delivery import Courier, Parcel, write_down
from bot.domain.rule import Action, Proposal
from bot.domain.words import Channel, Topic
from bot.filing import Kind, Times
from bot.services import Services
from bot.store.engine import Store

PROPOSAL = Proposal(Action.ANSWER, "Hello.", Topic.STORE_HOURS)
log = structlog.get_logger()


class _Within:
    """A store all of whose units of work are parts of one transaction."""

    def __init__(self, store: Store, session: Session) -> None:
        self.is_sqlite, self._session = store.is_sqlite, session

    @contextmanager
    def unit_of_work(self, durable: bool = True, urgent: bool = False) -> Iterator[Session]:
        """See `Store`."""
        yield self._session

    read = unit_of_work


def rehearse(services: Services) -> None:
    """Once through. What fails is logged: whoever comes first finds out, too, and is told."""
    try:
        for durable in (True, False):
            with services.store.rehearsal(durable) as session:
                _go_through(services, session)
    except Exception as error:
        log.warning("rehearsal.failed", error=type(error).__name__)


def _go_through(services: Services, session: Session) -> None:
    store, now = cast(Store, _Within(services.store, session)), services.clock()
    times = Times(now, services.settings.burst * 0, services.settings.idle)

    def event(channel: Channel) -> inbox.Incoming:
        name = f"rehearsal:{secrets.token_hex(8)}"
        return inbox.Incoming(channel, "rehearsal", name, name, Kind.MESSAGE, {"text": "Hello?"}, now)

    for channel in (Channel.WEB, Channel.MESSENGER):
        inbox.take_in(store, event(channel), times)
    inbox.accept(store, [event(Channel.MESSENGER) for _ in range(3)], now)
    inbox.file_all(store, now, times.burst, times.idle)
    courier = Courier(services, Graph(services.settings.messenger), most=1)
    for _ in range(2):  # the first came in the web chat
        if turn := turns.claim(store, services.settings, now):
            done = turns.carry_out(session, services.settings, turn, PROPOSAL, now, courier=courier)
            if done and done.reply:
                write_down(session, Parcel.of(done.reply), "rehearsal", now)
