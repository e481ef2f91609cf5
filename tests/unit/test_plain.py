"""A plain route answers as FastAPI's own would: the same status and the same words."""

import asyncio
from typing import Annotated, Any

import httpx
import pytest
from fastapi import FastAPI, Query
from pydantic import TypeAdapter
from starlette.requests import Request
from starlette.responses import JSONResponse

from bot.app import _bad_request
from bot.channels import plain
from bot.channels.web import MessageIn

COUNT: TypeAdapter[int] = TypeAdapter(Annotated[int, Query(ge=0)])
BODIES = [
    b"", b"{}", b"[]", b"null", b"7", b'"x"', b"{", b'{"client_id": "1"', b"\xff\xfe{}", b"[" * 100_000,
    b'{"client_id": "1", "text": " "}', b'{"client_id": 1, "text": "a\\u0000", "button": "explode"}',
    '{"client_id": "1", "text": "é"}'.encode("utf-16"), b'{"client_id": "1", "text": "hi"}',
]  # fmt: skip
TYPES = [
    "application/json",
    "APPLICATION/JSON; charset=utf-8",
    "application/problem+json",
    "text/plain",
    None,
]


async def taken(request: Request) -> JSONResponse:
    return JSONResponse(plain.checked(MessageIn, await plain.body_of(request)).model_dump(mode="json"))


async def counted(request: Request) -> JSONResponse:
    return JSONResponse(plain.parameter(COUNT, request, "after"))


class Http:
    """Asks an application without a network."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://shop.example") as http:
                return await http.request(method, path, **more)

        return asyncio.run(ask())


@pytest.fixture(scope="module")
def http() -> Http:
    app = FastAPI(exception_handlers={plain.RequestValidationError: _bad_request})
    app.router.routes += [plain.route("POST", "/plain", taken), plain.route("GET", "/plain", counted)]

    @app.post("/theirs")
    async def theirs(body: MessageIn) -> MessageIn:
        return body

    @app.get("/theirs")
    async def their_count(after: Annotated[int | None, Query(ge=0)] = None) -> int | None:
        return after

    return Http(app)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_a_body_is_taken_or_refused_in_the_same_words(http: Http, body: bytes, kind: str | None):
    headers = {"Content-Type": kind} if kind else {}
    ours, theirs = (
        http.request("POST", path, content=body, headers=headers) for path in ("/plain", "/theirs")
    )
    assert (ours.status_code, ours.content) == (theirs.status_code, theirs.content)


@pytest.mark.parametrize("query", ["", "?after=3", "?after=-1", "?after=x", "?after=", "?after=1&after=2"])
def test_a_parameter_is_taken_or_refused_in_the_same_words(http: Http, query: str):
    ours, theirs = (http.request("GET", path + query) for path in ("/plain", "/theirs"))
    assert (ours.status_code, ours.content) == (theirs.status_code, theirs.content)


def test_a_route_answers_the_methods_that_it_names_and_no_other(http: Http):
    for method in ("HEAD", "PUT", "DELETE"):
        assert (
            http.request(method, "/plain").status_code == http.request(method, "/theirs").status_code == 405
        )
