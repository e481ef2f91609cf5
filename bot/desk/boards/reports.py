"""The board of reports, and each of its tables as CSV."""

from datetime import date, timedelta
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Path, Request, Response
from sqlalchemy.orm import Session

from bot.channels.web import Shared
from bot.desk import audit, sections
from bot.desk.boards.base import Supervisor, show
from bot.desk.figures import Report, Span, report
from bot.desk.sections import Section
from bot.desk.web import Page
from bot.desk.wording import language_of, words
from bot.domain.errors import NotFound
from bot.domain.open_time import OpenTime
from bot.domain.words import Channel
from bot.services import Services
from bot.store.care import Rating
from bot.store.tables import Agent, Conversation

router = APIRouter(prefix="/desk/reports", route_class=Page, include_in_schema=False)
DAYS = 28  # shown unless others are asked for
LONGEST = 731
COMMENTS = 10


@router.get("")
def board(
    request: Request, caller: Supervisor, services: Shared, first: str = "", last: str = "", channel: str = ""
) -> Response:
    """Every figure of some days, 28 unless others are asked for."""
    span, problem = _span(services, first, last, channel)
    t = words(language_of(request, caller.agent))
    with services.store.read() as session:
        found = _report(session, services, span)
        comments = _comments(session, span)
    mean = _mean(found)
    return show(
        request, services, caller, "reports", 422 if problem else 200,
        problem=t["reports"]["wrong_days"] if problem else "", span=span, report=found, comments=comments,
        sections=sections.sections(found, span, t), cell=lambda value: sections.shown(value, t), mean=mean,
        channels=list(Channel), channel=span.channel.value if span.channel else "",
    )  # fmt: skip


@router.get("/{key}.csv")
def export(
    key: Annotated[str, Path(max_length=40)],
    request: Request,
    caller: Supervisor,
    services: Shared,
    first: str = "",
    last: str = "",
    channel: str = "",
) -> Response:
    """One table. Times are seconds. 404 for a table or days that don't exist."""
    span, problem = _span(services, first, last, channel)
    t = words(language_of(request, caller.agent))
    if problem or key not in t["reports"]["titles"]:
        raise NotFound("There is no such table.")
    with services.store.read() as session:
        found = _report(session, services, span)
    section: Section = next(one for one in sections.sections(found, span, t) if one.key == key)
    with services.store.unit_of_work() as session:
        by = session.get_one(Agent, caller.agent.id)
        about = {"first": str(span.first), "last": str(span.last), "channel": channel or None}
        audit.note(session, by, "report_export", key, services.clock(), after=about)
    name = f"{key}-{span.first}-{span.last}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return Response(sections.as_csv(section), media_type="text/csv; charset=utf-8", headers=headers)


def _report(session: Session, services: Services, span: Span) -> Report:
    settings, now = services.settings, services.clock()
    line = OpenTime(settings.opening_hours, settings.time_zone, span.start, max(now, span.end))
    return report(session, span, line, now)


def _span(services: Services, first: str, last: str, channel: str) -> tuple[Span, bool]:
    """What was asked for, or the newest days; and whether it couldn't be read."""
    zone = services.settings.time_zone
    today = services.clock().astimezone(zone).date()
    default = (today - timedelta(days=DAYS - 1), today)
    known = channel in {one.value for one in Channel}
    chosen = Channel(channel) if known else None
    try:
        days = (
            date.fromisoformat(first) if first else default[0],
            date.fromisoformat(last) if last else today,
        )
        wrong = not (date(2000, 1, 1) <= days[0] <= days[1] <= date(2200, 1, 1))
        wrong = wrong or (days[1] - days[0]).days >= LONGEST or (bool(channel) and not known)
    except ValueError:
        days, wrong = default, True
    return Span(*(default if wrong else days), chosen, zone), wrong


def _comments(session: Session, span: Span) -> list[Any]:
    """The newest comments that came with a rating."""
    found = sa.select(Rating).join(Conversation, Conversation.id == Rating.conversation_id)
    found = found.where(span.where(), Rating.comment != "").order_by(Rating.changed_at.desc())
    return list(session.scalars(found.limit(COMMENTS)))


def _mean(found: Report) -> str:
    count = sum(found.ratings.values())
    total = sum(score * one for (score, _), one in found.ratings.items())
    return f"{total / count:.2f}" if count else "–"
