"""The webhooks that channels call."""

from typing import Annotated

import structlog
from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import PlainTextResponse

from bot.channels import messenger
from bot.channels.web import Shared
from bot.filing import Kind

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


@router.post("/messenger", response_class=PlainTextResponse)
async def receive(
    request: Request,
    services: Shared,
    signature: Annotated[str, Header(alias="X-Hub-Signature-256")] = "",
) -> str:
    """Stores every event of a batch, then acknowledges it."""
    body = await request.body()
    settings = services.settings.messenger
    messenger.verify_signature(settings, body, signature)
    events = messenger.parse(settings, body)
    for event in events:
        if event.kind is Kind.OTHER:
            named = event.payload["event"].get("field") or ",".join(sorted(event.payload["event"]))
            log.info("webhook.other", account=event.account, fields=str(named)[:200])
    await services.intake.take(events)
    return "EVENT_RECEIVED"
