"""A shop's Page to write promises against, in one process: time obeys, and Graph is a function.

For processes of their own see `tests.meta`.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import sqlalchemy as sa

from bot import accounts, delivery, inbox
from bot.channels import messenger
from bot.channels.graph import Graph, InDoubt, NeverLeft, Reply
from bot.domain.words import Author, Status
from bot.settings import Messenger
from bot.store.tables import Identity
from tests.meta import APP, PAGE, SECRET
from tests.support import Shop

CUSTOMER = "7392015648120394"
SETTINGS = Messenger("verify me", SECRET, "page token", APP, "https://graph.invalid/v26.0")


def entry(*events: dict[str, Any], name: str = "messaging") -> dict[str, Any]:
    return {"object": "page", "entry": [{"id": PAGE, "time": 1793000000340, name: list(events)}]}


def said(text: str, mid: str, sender: str = CUSTOMER, **more: Any) -> dict[str, Any]:
    return {
        "sender": {"id": sender},
        "recipient": {"id": PAGE},
        "timestamp": 1793000000000,
        "message": {"mid": mid, "text": text, **more},
    }


def echo(text: str, mid: str, app_id: int, **more: Any) -> dict[str, Any]:
    event = said(text, mid, sender=PAGE, is_echo=True, app_id=app_id, **more)
    return event | {"recipient": {"id": CUSTOMER}}


class StandIn:
    """Graph at the network's edge: sends end as a list of answers says, then in success.

    An answer is a response, or an exception: `httpx.ReadTimeout` is an answer lost after Meta took the
    message. Everything else that an app asks for is answered from `names`, or with success.
    """

    def __init__(self, *answers: Any, names: dict[str, Any] | None = None, mid: str = "m_out") -> None:
        self.answers = list(answers)
        self.mid = mid
        self.names = names or {}
        self.sent: list[dict[str, Any]] = []
        self.tokens: list[str] = []
        self.actions: list[tuple[str, str]] = []  # customer, sender action
        self.taken: list[str] = []  # threads
        self.asked: list[str] = []  # names

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/v26.0")
        if request.method == "GET":
            self.asked.append(path.removeprefix("/"))
            found = self.names.get(path.removeprefix("/"))
            return httpx.Response(200, json=found) if found else error(100, 33)
        body = json.loads(request.content)
        customer = body["recipient"]["id"]
        if path == "/me/take_thread_control":
            self.taken.append(customer)
            return httpx.Response(200, json={"success": True})
        assert path == "/me/messages"
        if "sender_action" in body:
            self.actions.append((customer, body["sender_action"]))
            return httpx.Response(200, json={"recipient_id": customer})
        self.sent.append(body)
        self.tokens.append(request.headers["authorization"].removeprefix("Bearer "))
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, BaseException):
            raise answer
        return answer or httpx.Response(
            200, json={"recipient_id": customer, "message_id": f"{self.mid}_{len(self.sent)}"}
        )

    @property
    def texts(self) -> list[str]:
        return [body["message"]["text"] for body in self.sent]

    def echo(self, number: int = -1, **more: Any) -> dict[str, Any]:
        """The event by which Meta tells of a message that it took."""
        message = self.sent[number]["message"]
        return echo(message["text"], f"m_echo_{number}", int(APP), metadata=message["metadata"], **more)


def error(code: int, subcode: int | None = None, status: int = 400) -> httpx.Response:
    return httpx.Response(status, json={"error": {"code": code, "error_subcode": subcode, "message": "…"}})


NEVER_LEFT = (httpx.ConnectError, httpx.ConnectTimeout)


def reply(response: httpx.Response) -> Reply:
    """A response, as the network gives it to us."""
    return Reply(response.status_code, response.content, dict(response.headers))


class Mock:
    """The network's edge: a function answers. An `httpx` error is one that the line has."""

    def __init__(self, graph: Callable[[httpx.Request], Any]) -> None:
        self._graph = graph

    async def ask(
        self, method: str, url: str, token: str, query: dict[str, Any] | None, body: dict[str, Any] | None
    ) -> Reply:
        headers = {"Authorization": f"Bearer {token}"}
        try:
            answer = self._graph(httpx.Request(method, url, params=query, json=body, headers=headers))
            return reply(await answer if isinstance(answer, Awaitable) else answer)
        except NEVER_LEFT as error:
            raise NeverLeft(type(error).__name__) from error
        except httpx.HTTPError as error:
            raise InDoubt(type(error).__name__) from error

    async def close(self) -> None:
        pass


class Page(Shop):
    """A shop whose customers write on Messenger."""

    meta: Messenger = SETTINGS

    def gets(self, *events: dict[str, Any], name: str = "messaging") -> None:
        self.receives(entry(*events, name=name))

    def receives(self, *bodies: dict[str, Any]) -> None:
        """Webhooks arrive, and the workers work."""
        self.files(*bodies)
        self.passes(seconds=2)

    def files(self, *bodies: dict[str, Any]) -> None:
        """Webhooks arrive and are filed, while the workers do something else."""
        for body in bodies:
            self.takes_in(json.dumps(body).encode())

    def takes_in(self, body: bytes) -> None:
        """One webhook arrives, as its bytes, and is filed."""
        inbox.accept(self.store, messenger.parse(self.meta, body), self.now)
        self.file()

    def sends(self, graph: Callable[[httpx.Request], httpx.Response]) -> None:
        self.repeats(delivery.deliver, graph)

    def repeats(
        self, step: Callable[..., Awaitable[bool]], graph: Callable[[httpx.Request], httpx.Response]
    ) -> None:
        async def all_of_it() -> None:
            client = Graph(self.meta, Mock(graph))
            while await step(self.services, client):
                pass
            await client.close()

        asyncio.run(all_of_it())

    def says(self, text: str, mid: str, sender: str = CUSTOMER, **more: Any) -> None:
        """A customer writes now."""
        self.gets(said(text, mid, sender, **more) | {"timestamp": self.millis})

    @property
    def millis(self) -> int:
        return int(self.now.timestamp() * 1000)

    def alerts(self) -> list[str]:
        with self.store.read() as session:
            return [alert.trouble.value for alert in accounts.alerts(session)]

    def identity(self, who: str = CUSTOMER) -> Identity:
        with self.store.read() as session:
            return session.scalars(sa.select(Identity).where(Identity.thread == who)).one()

    def outbox(self, who: str = CUSTOMER) -> list[tuple[Author, Status]]:
        return [(m.author, m.status) for m in self.messages(who) if m.author is not Author.CUSTOMER]
