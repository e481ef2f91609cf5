"""What whoever runs the product looks at: `/metrics`, for Prometheus.

It holds counts and ages, no customer's data. It is answered to whoever brings METRICS_TOKEN as a bearer
token and, when that isn't set, to programs on this machine that came without a proxy.
"""

import hmac
from datetime import datetime
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Header, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from bot.channels.web import Shared
from bot.domain.errors import NotAllowed
from bot.domain.words import State, Status
from bot.services import Services
from bot.store.tables import Conversation, HandOff, InboxItem, Message

LOCAL = ("127.0.0.1", "::1")
FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")
SHOWN = (Status.QUEUED, Status.SENDING, Status.UNKNOWN, Status.FAILED)  # an index finds each of them
AGE = Gauge("reply_twice_queue_age_seconds", "Age of the oldest that waits in a stage", ["stage"])
LENGTH = Gauge("reply_twice_queue_length", "How many wait in a stage", ["stage"])
DELIVERIES = Gauge("reply_twice_deliveries", "Messages to customers that are not sent, by state", ["state"])
OPEN = Gauge("reply_twice_open_conversations", "Open conversations", ["state"])
BRAIN = Gauge("reply_twice_brain_up", "1 if Rasa would answer now")

router = APIRouter(tags=["operations"])


@router.get("/metrics")
async def metrics(
    request: Request, services: Shared, authorization: Annotated[str, Header()] = ""
) -> Response:
    """Counts and ages in Prometheus' text format; 403 for whoever may not read them."""
    check_reader(services.settings.metrics_token, request, authorization)
    BRAIN.set(await services.brain.is_ready())
    await run_in_threadpool(look, services)
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


def check_reader(token: str, request: Request, authorization: str) -> None:
    """Raises NotAllowed."""
    if token:
        if not hmac.compare_digest(authorization.encode(), f"Bearer {token}".encode()):
            raise NotAllowed("Bring METRICS_TOKEN as a bearer token.")
        return
    near = request.client is not None and request.client.host in LOCAL
    if not near or any(name in request.headers for name in FORWARDED):
        raise NotAllowed("Set METRICS_TOKEN to read this from elsewhere.")


def look(services: Services) -> None:
    """Sets the gauges that the database knows. Raises StoreDown."""
    now = services.clock()
    with services.store.read() as session:
        for stage, when, waits in (
            ("inbox", InboxItem.received_at, InboxItem.filed_at.is_(None)),
            ("turn", Conversation.due_at, Conversation.due_at <= now),
            ("delivery", Message.at, Message.status == Status.QUEUED),
            ("person", HandOff.at, sa.and_(HandOff.ended_at.is_(None), HandOff.taken_at.is_(None))),
        ):
            count, oldest = session.execute(sa.select(sa.func.count(), sa.func.min(when)).where(waits)).one()
            LENGTH.labels(stage).set(count)
            AGE.labels(stage).set(_seconds(oldest, now))
        for status in SHOWN:
            DELIVERIES.labels(status.value).set(_count(session, Message.status == status))
        for state in State:
            if state is not State.CLOSED:
                OPEN.labels(state.value).set(_count(session, Conversation.state == state))


def _count(session: Session, condition: sa.ColumnElement[bool]) -> int:
    return session.scalar(sa.select(sa.func.count()).where(condition)) or 0


def _seconds(since: datetime | None, now: datetime) -> float:
    return max(0.0, (now - since).total_seconds()) if since else 0.0
