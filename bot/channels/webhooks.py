"""The webhooks that channels call."""

from typing import Annotated

import structlog
from fastapi import APIRouter, Query, Request
from fastapi.responses import PlainTextResponse
from starlette.concurrency import run_in_threadpool

from bot.channels import messenger, plain
from bot.channels.web import Shared
from bot.counters import COMMENTS
from bot.filing import Kind
from bot.inbox import Incoming
from bot.services import Services

SMALL = 32 << 10  # bytes: a body up to it is read at once, a longer one beside the others
log = structlog.get_logger()
router = APIRouter(prefix="/webhooks", tags=["webhooks"])


@router.get("/messenger", response_class=PlainTextResponse)
def subscribe(
    services: Shared,
    mode: Annotated[str, Query(alias="hub.mode")] = "",
    token: Annotated[str, Query(alias="hub.verify_token")] = "",
    challenge: Annotated[str, Query(alias="hub.challenge")] = "",
) -> str:
    """Meta checks that the address is ours."""
    return messenger.verify_subscription(services.settings.messenger, mode, token, challenge)


async def receive(request: Request) -> PlainTextResponse:
    """Stores every event of a batch, then acknowledges it.

    A plain route: hundreds come in a second, and FastAPI costs more than we do.
    """
    services: Services = request.app.state.services
    body, signature = await request.body(), request.headers.get("X-Hub-Signature-256", "")
    if len(body) > SMALL:
        events = await run_in_threadpool(_read, services, body, signature)
    else:
        events = _read(services, body, signature)
    fresh = await services.intake.take(events)
    for event in events:
        if event.public_id not in fresh or event.kind not in (Kind.OTHER, Kind.COMMENT):
            continue
        if event.kind is Kind.COMMENT:
            COMMENTS.labels(event.account).inc()
        named = event.payload["event"].get("field") or ",".join(sorted(event.payload["event"]))
        log.info(f"webhook.{event.kind.value}", account=event.account, fields=str(named)[:200])
    return PlainTextResponse("EVENT_RECEIVED")


ROUTE = plain.route("POST", "/webhooks/messenger", receive)


def _read(services: Services, body: bytes, signature: str) -> list[Incoming]:
    """Raises NotAllowed or BadInput."""
    settings = services.settings.messenger
    messenger.verify_signature(settings, body, signature)
    return messenger.parse(settings, body)
