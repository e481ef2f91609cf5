"""Asking for a rating on Messenger, by Meta's customer-feedback template.

Only after a conversation that a person resolved, or where an agent asks for it, within 24 hours of the
customer's last message, and with the address of a privacy policy, without which Meta takes no such
template. It is no `message`: it isn't one of the bot's two replies. Asked once: the row is marked before
Meta is called, so that a crash asks nobody twice. Instagram has no such template.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from bot import ratings
from bot.channels.graph import Graph, Outcome
from bot.domain.window import FOR_ALL
from bot.domain.words import Channel, Ending, State
from bot.runtime import Care
from bot.services import Services
from bot.store import queries
from bot.store.care import RatingRequest
from bot.store.tables import Account, Conversation, Identity

DAYS = 3  # how long Meta shows the form
TEXTS = {
    "en": ("How did we do?", "Tell us in a moment.", "Rate", "How satisfied are you with our help?",
           "Anything you would like to add?"),
    "ko": ("상담은 어떠셨나요?", "잠시만 시간을 내어 알려 주세요.", "평가하기", "상담에 얼마나 만족하셨나요?",
           "더 남기실 말씀이 있으신가요?"),
    "ja": ("対応はいかがでしたか？", "少しだけお聞かせください。", "評価する",
           "対応にどのくらいご満足いただけましたか？", "ほかにお気づきの点があればお書きください。"),
}  # fmt: skip
log = structlog.get_logger()


@dataclass(frozen=True)
class Question:
    """Whom to ask about which conversation, in which language."""

    conversation_id: int
    account: str
    thread: str
    language: str


async def ask(services: Services, graph: Graph) -> bool:
    """Asks one customer, if there is one to ask; says whether there was."""
    question = await run_in_threadpool(claim, services)
    if question is None:
        return False
    body = template(question, services.care.privacy_url)
    answer, _data = await graph.call(question.account, "POST", "/me/messages", body)
    if answer.outcome is not Outcome.SENT:
        await run_in_threadpool(_failed, services, question, answer.detail)
    return True


def template(question: Question, privacy_url: str) -> dict[str, Any]:
    """The Send API's body (Meta's documentation of the customer feedback template)."""
    title, subtitle, button, asked, placeholder = TEXTS[question.language]
    rating = {
        "id": f"{ratings.QUESTION}{question.conversation_id}",
        "type": "csat",
        "title": asked,
        "score_label": "neg_pos",
        "score_option": "five_stars",
        "follow_up": {"type": "free_form", "placeholder": placeholder},
    }
    payload = {
        "template_type": "customer_feedback",
        "title": title,
        "subtitle": subtitle,
        "button_title": button,
        "feedback_screens": [{"questions": [rating]}],
        "business_privacy": {"url": privacy_url},
        "expires_in_days": DAYS,
    }
    return {
        "recipient": {"id": question.thread},
        "message": {"attachment": {"type": "template", "payload": payload}},
    }


def claim(services: Services) -> Question | None:
    """The next customer to ask, marked as asked."""
    now, care = services.clock(), services.care
    if not care.privacy_url:
        return None
    with services.store.read() as session:  # an idle look only reads
        if _next(session, care, now) is None:
            return None
    with services.store.unit_of_work() as session:
        conversation_id = _next(session, care, now)
        if conversation_id is None:
            return None
        one = sa.select(Conversation).where(Conversation.id == conversation_id)
        conversation = session.scalar(queries.for_update(one, skip_locked=True))
        if conversation is None:
            return None
        request = session.get(RatingRequest, conversation_id, populate_existing=True)
        if request is None:
            request = RatingRequest(conversation_id=conversation_id, at=now)
            session.add(request)
        elif request.sent_at:
            return None  # another process was faster
        request.sent_at = now
        identity = session.get_one(Identity, conversation.identity_id)
        language = conversation.language if conversation.language in TEXTS else "en"
        return Question(conversation_id, identity.account, identity.thread, language or "en")


def _next(session: Session, care: Care, now: datetime) -> int | None:
    rule = sa.and_(
        sa.true() if care.rating else sa.false(),
        RatingRequest.conversation_id.is_(None),
        Conversation.ending == Ending.RESOLVED,
        ratings.ended_well(),
    )
    wish = sa.and_(RatingRequest.conversation_id.is_not(None), RatingRequest.sent_at.is_(None))
    closed = (
        sa.select(Conversation.id)
        .join(Identity, Identity.id == Conversation.identity_id)
        .outerjoin(RatingRequest, RatingRequest.conversation_id == Conversation.id)
        .where(
            Conversation.state == State.CLOSED,
            Conversation.channel == Channel.MESSENGER,
            Conversation.last_message_at > now - FOR_ALL,
            Identity.wrote_at > now - FOR_ALL,
            sa.or_(rule, wish),
            ~sa.exists().where(Account.id == Identity.account, Account.paused_until > now),
        )
        .order_by(Conversation.closed_at.desc())
        .limit(1)
    )
    return session.scalar(closed)


def _failed(services: Services, question: Question, detail: str) -> None:
    log.warning("feedback.not_asked", conversation_id=question.conversation_id, detail=detail)
    with services.store.unit_of_work() as session:
        session.get_one(RatingRequest, question.conversation_id).error = detail[:200]
