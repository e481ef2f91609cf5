"""A flood of webhooks: how soon each is acknowledged, and whether everything in it is dealt with."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import sqlalchemy as sa

from bench.load import Http, open_loop
from bench.ours import Product, deliver
from bot.domain.words import Author, Channel, Status
from bot.store.tables import Conversation, Identity, InboxItem, Message

EACH = 3  # messages of one customer
LONGEST = 900.0  # seconds for the backlog
WORDS = ("What are your opening hours?", "And how much is shipping?", "Do you take PayPal?")


async def flood(product: Product, rate: int, seconds: int) -> dict[str, Any]:
    """So many webhooks a second, for so long; what came of them."""
    http = Http(product.port)
    customers = [str(5_000_000 + number) for number in range(rate * seconds // EACH)]

    async def ask(number: int) -> None:
        turn, customer = divmod(number, len(customers))
        text = f"{turn + 1}. {WORDS[turn % EACH]}"
        await deliver(http, [(customers[customer], f"flood-{customer}-{turn}", text)])
        taken.add((customers[customer], text))

    taken: set[tuple[str, str]] = set()  # what Meta need not deliver again
    acknowledged = await open_loop(rate, seconds, ask)
    start = time.perf_counter()
    await settled(product, LONGEST)
    backlog = time.perf_counter() - start
    http.close()
    kept = await asyncio.to_thread(_kept, product)
    stored = {(customer, text) for customer, texts in kept.items() for text in texts}
    in_order = sum(texts == sorted(texts) for texts in kept.values())
    return {
        **acknowledged.to_json(), "backlog": backlog, "lost": len(taken - stored),
        "customers": len(kept), "in_order": in_order,
    }  # fmt: skip


async def settled(product: Product, seconds: float = 120.0) -> None:
    """Returns once nothing waits to be filed, decided or sent. Raises TimeoutError."""
    deadline = time.perf_counter() + seconds
    while await asyncio.to_thread(_waits, product):
        if time.perf_counter() > deadline:
            raise TimeoutError(f"the backlog isn't worked off within {seconds:g} s")
        await asyncio.sleep(0.2)


def _waits(product: Product) -> bool:
    with product.store.read() as session:
        queries = (
            sa.select(InboxItem.id).where(InboxItem.filed_at.is_(None)),
            sa.select(Conversation.id).where(Conversation.due_at.is_not(None)),
            sa.select(Message.id).where(Message.status.in_((Status.QUEUED, Status.SENDING))),
        )
        return any(session.scalar(query.limit(1)) is not None for query in queries)


def _kept(product: Product) -> dict[str, list[str]]:
    """Each customer's messages as they were filed."""
    query = (
        sa.select(Identity.thread, Message.text)
        .join(Message.conversation)
        .join(Identity, Conversation.identity_id == Identity.id)
        .where(Identity.channel == Channel.MESSENGER, Message.author == Author.CUSTOMER)
        .order_by(Message.id)
    )
    found: dict[str, list[str]] = {}
    with product.store.read() as session:
        for thread, text in session.execute(query):
            found.setdefault(thread, []).append(text)
    return found
