"""Asking for a rating on Messenger, by Meta's customer-feedback template.

Only after a conversation that a person resolved, or where an agent asks for it, and once it can't be opened
again any more; within 24 hours of the customer's last message, and with the address of a privacy policy,
without which Meta takes no such template. It is no `message`: it isn't one of the bot's two replies. Asked
once: the row is marked before Meta is called, so that a crash asks nobody twice. Instagram has no such
template.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import aliased
from starlette.concurrency import run_in_threadpool

from bot import accounts, ratings
from bot.channels.graph import Answer, Graph, Outcome
from bot.delivery import KEPT, TROUBLES
from bot.desk.conversations import UNDO
from bot.domain.window import FOR_ALL
from bot.domain.words import Channel, Ending, State, Status
from bot.runtime import Care
from bot.services import Services
from bot.store import queries
from bot.store.care import RatingRequest
from bot.store.tables import Account, Conversation, Identity, Message

DAYS = 3  # how long Meta shows the form
AGAIN = timedelta(minutes=5)  # before another try, where Meta took nothing
ON_ITS_WAY = (Status.QUEUED, Status.SENDING, Status.UNKNOWN)
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
        await run_in_threadpool(_failed, services, question, answer)
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
        if session.scalar(_next(care, now)) is None:
            return None
    with services.store.unit_of_work() as session:
        conversation = session.scalar(queries.for_update(_next(care, now), skip_locked=True))
        if conversation is None:
            return None
        request = session.get(RatingRequest, conversation.id, populate_existing=True)
        if request is None:
            request = RatingRequest(conversation_id=conversation.id, at=now)
            session.add(request)
        elif request.sent_at:
            return None  # another process was faster
        request.sent_at, request.error = now, None
        identity = session.get_one(Identity, conversation.identity_id)
        language = conversation.language if conversation.language in TEXTS else "en"
        return Question(conversation.id, identity.account, identity.thread, language or "en")


def _next(care: Care, now: datetime) -> sa.Select[Conversation]:
    """Whom to ask next: the conversation is over for good, all of it was sent, and none came after."""
    rule = sa.and_(
        sa.true() if care.rating else sa.false(),
        Conversation.ending == Ending.RESOLVED,
        ratings.ended_well(),
    )
    wish = RatingRequest.agent_id.is_not(None)
    newer = aliased(Conversation)
    no_token = Account.trouble.in_(TROUBLES.values())
    return (
        sa.select(Conversation)
        .join(Identity, Identity.id == Conversation.identity_id)
        .outerjoin(RatingRequest, RatingRequest.conversation_id == Conversation.id)
        .where(
            Conversation.state == State.CLOSED,
            Conversation.closed_at <= now - UNDO,
            Conversation.channel == Channel.MESSENGER,
            Conversation.last_message_at > now - FOR_ALL,
            Identity.wrote_at > now - FOR_ALL,
            RatingRequest.sent_at.is_(None),
            sa.or_(RatingRequest.at.is_(None), RatingRequest.at <= now),
            sa.or_(rule, wish),
            ~sa.exists().where(newer.identity_id == Conversation.identity_id, newer.id > Conversation.id),
            ~sa.exists().where(Message.conversation_id == Conversation.id, Message.status.in_(ON_ITS_WAY)),
            ~sa.exists().where(Account.id == Identity.account, sa.or_(Account.paused_until > now, no_token)),
        )
        .order_by(Conversation.closed_at.desc())
        .limit(1)
    )


def _failed(services: Services, question: Question, answer: Answer) -> None:
    """Where nothing was sent and it may go later the customer is asked again, until the window closes."""
    log.warning("feedback.not_asked", conversation_id=question.conversation_id, detail=answer.detail)
    now = services.clock()
    with services.store.unit_of_work() as session:
        request = session.get_one(RatingRequest, question.conversation_id)
        request.error = answer.detail[:200]
        if answer.outcome in KEPT:
            request.sent_at, request.at = None, now + max(answer.wait or AGAIN, AGAIN)
        if answer.outcome is Outcome.THROTTLED:
            accounts.throttle(session, question.account, answer.wait, now)
