"""What a message costs the bot process: CPU for taking it in and for its turn, and room in the database.

    python -m bench.cost [--messages 500]

The path's own functions on an empty embedded database, without HTTP and with a plain brain in Rasa's place;
CPU time of this process, so that others on the machine don't matter much. Each message is its customer's
first, and gets a reply.
"""

import argparse
import itertools
import logging
import tempfile
import time
from pathlib import Path

import sqlalchemy as sa
import structlog

from bot import inbox
from bot.domain.words import Channel
from bot.filing import Times
from bot.store.engine import Store
from tests.support import Shop, settings_for


def size(store: Store) -> dict[str, int]:
    """Bytes of each table with its indexes."""
    owner = "SELECT coalesce(m.tbl_name, d.name), sum(d.pgsize) FROM dbstat d LEFT JOIN sqlite_master m"
    with store.read() as session:
        return dict(session.execute(sa.text(f"{owner} ON m.name = d.name GROUP BY 1")).all())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.cost")
    parser.add_argument("--messages", type=int, default=500)
    count = parser.parse_args().messages
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with tempfile.TemporaryDirectory() as folder:
        settings = settings_for(Path(folder))
        store = Store(settings.database_url)
        store.migrate()
        shop, ids = Shop(store, settings), itertools.count()

        def comes() -> None:
            text = "return_policy I ordered a blanket last week and would like to send it back, how do I?"
            name = f"s:{next(ids):032}"
            event = inbox.Incoming(
                Channel.WEB, "web", name, name * 2, inbox.Kind.MESSAGE, {"text": text}, shop.now
            )
            inbox.take_in(store, event, Times(shop.now, settings.burst, settings.idle))

        comes()
        shop.passes(seconds=2)
        before, started = size(store), time.process_time()
        for _ in range(count):
            comes()
        taken = time.process_time()
        shop.passes(seconds=2)
        done = time.process_time()
        after = size(store)
        print(f"taken in: {(taken - started) * 1000 / count:.1f} ms of CPU a message")
        print(f"turn: {(done - taken) * 1000 / count:.1f} ms")
        for table in ("message", "conversation", "identity", "contact", "inbox", "event"):
            print(f"{table}: {(after[table] - before[table]) / count:.0f} bytes a customer's message")
        store.close()


if __name__ == "__main__":
    main()
