"""Many pages open at once: an agent's reply, from the click to the customer's screen."""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from itsdangerous import URLSafeTimedSerializer

from bench.load import Http, open_loop
from bench.machine import pss, until
from bench.ours import Product, Visitor, visitors
from bot.desk import agents
from bot.domain.words import State
from bot.services import utc_now
from bot.store.tables import Conversation, Identity

PASSWORD = "correct horse battery"
WAIT = timedelta(minutes=3).total_seconds()


async def live(product: Product, chats: int, desks: int, replies: int) -> dict[str, Any]:
    """Opens the pages, lets the agents take every chat and answer; what it took."""
    http = Http(product.port)
    before = pss([product.bot_pid()])
    customers = await visitors(http, chats)
    desk = await _desks(product, http, desks)
    await asyncio.sleep(1)  # the streams' first status has been sent
    after = pss([product.bot_pid()])
    held = await _take_all(product, http, customers, desk)

    async def reply(number: int) -> None:
        customer = customers[number % chats]
        conversation, headers = held[customer]
        text = f"Hello, this is number {number}."
        body = {"client_id": uuid.uuid4().hex, "text": text}
        path = f"/api/desk/conversations/{conversation}/messages"
        status, said = await http.post(path, body, headers)
        if status != 201:
            raise RuntimeError(f"answered with {status}: {said}")
        while (await customer.heard.get())["text"] != text:
            pass

    run = await open_loop(10, replies / 10, reply)
    for customer in customers:
        customer.leave()
    for stream in desk.values():
        stream.cancel()
    http.close()
    connections = chats + desks
    return {
        "chats": chats, "desks": desks, **run.to_json(), "kb_each": 1024 * (after - before) / connections,
        "bot_mb": after,
    }  # fmt: skip


async def _desks(product: Product, http: Http, count: int) -> dict[str, asyncio.Task[None]]:
    """Agents with their desk open: token and stream of each."""
    opened = {}
    for number in range(count):
        email = f"bench-{number}-{uuid.uuid4().hex[:6]}@shop.example"
        with product.store.unit_of_work() as session:
            agents.add_agent(session, email, f"Agent {number}", "agent", PASSWORD, utc_now())
        _status, said = await http.post("/api/desk/login", {"email": email, "password": PASSWORD})
        token = said["token"]
        opened[token] = asyncio.create_task(_watch(http, token))
    return opened


async def _watch(http: Http, token: str) -> None:
    async for _event in http.events("/desk/events", {"Cookie": f"reply_twice_desk={token}"}):
        pass


async def _take_all(
    product: Product, http: Http, customers: list[Visitor], desk: dict[str, Any]
) -> dict[Visitor, tuple[int, dict[str, str]]]:
    """Each customer asks for a person and gets one: conversation and the holder's headers."""
    tokens = list(desk)
    for customer in customers:
        await customer.write("I want to talk to a person, please.")
    found: dict[Visitor, tuple[int, dict[str, str]]] = {}
    for number, customer in enumerate(customers):
        await asyncio.wait_for(customer.heard.get(), WAIT)
        headers = {"Authorization": f"Bearer {tokens[number % len(tokens)]}"}
        conversation = await asyncio.to_thread(_conversation_of, product, customer)
        path = f"/api/desk/conversations/{conversation}/take"
        status, said = await http.post(path, {}, headers)
        if status != 200:
            raise RuntimeError(f"take: {status} {said}")
        found[customer] = (conversation, headers)
    return found


def _conversation_of(product: Product, customer: Visitor) -> int:
    """Its id, once it waits for a person."""
    thread = URLSafeTimedSerializer("", salt="web-chat-session").loads_unsafe(customer.token)[1][0]
    query = sa.select(Conversation.id).join(Identity, Conversation.identity_id == Identity.id)
    query = query.where(Identity.thread == thread, Conversation.state == State.WAITING)
    found: list[int] = []

    def look() -> bool:
        with product.store.read() as session:
            found.extend(session.scalars(query))
        return bool(found)

    until(look, 30)
    return found[0]
