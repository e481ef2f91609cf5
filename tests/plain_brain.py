"""A brain that starts at once: `PlainBrain` behind Rasa's address, in a process of its own.

python -m tests.plain_brain PORT
"""

import asyncio
import sys
from dataclasses import asdict
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from bot.domain.rule import Context, Proposal
from tests.support import PlainBrain


def as_json(proposal: Proposal) -> dict[str, Any]:
    """As `bot.components.channel` answers."""
    buttons = [{"title": title, "button": button.value} for title, button in proposal.buttons]
    return asdict(proposal) | {"buttons": buttons}


async def webhook(request: Request) -> JSONResponse:
    body = await request.json()
    await asyncio.sleep(0.02)
    context = Context.from_json(body["metadata"])
    return JSONResponse(as_json(await PlainBrain().read_and_reply(body["turn"], body["text"], context)))


async def ready(_request: Request) -> JSONResponse:
    return JSONResponse({"ready": True})


app = Starlette(
    routes=[
        Route("/webhooks/turn/webhook", webhook, methods=["POST"]),
        Route("/webhooks/turn/ready", ready),
    ]
)

if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), log_level="warning")
