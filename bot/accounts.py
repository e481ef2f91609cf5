"""Channel accounts in trouble: nothing is sent for them, their queue is kept, and the desk is told."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import sqlalchemy as sa
import structlog
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from bot.domain.words import Status
from bot.store.tables import Account, Message

PROBE = timedelta(minutes=1)  # how often an account in trouble is tried again
THROTTLE_FIRST, THROTTLE_MOST = timedelta(seconds=2), timedelta(minutes=5)
log = structlog.get_logger()


class Trouble(StrEnum):
    """What is the matter with an account."""

    NO_TOKEN = "no_token"  # noqa: S105 (a word, not a secret)
    TOKEN = "token"  # noqa: S105 (expired, revoked or wrong)
    BLOCKED = "blocked"  # Meta's policy enforcement


@dataclass(frozen=True)
class Alert:
    """An account in trouble, for the desk and the health page. `waiting` messages are kept for it."""

    account: str
    trouble: Trouble
    detail: str
    since: datetime
    waiting: int


def halt(session: Session, account_id: str, trouble: Trouble, detail: str, now: datetime) -> None:
    """Stops an account's deliveries until the next probe; its first time is logged as an error."""
    account = _row(session, account_id)
    account.paused_until = now + PROBE
    _mark(account, trouble, detail, now)


def block(session: Session, account_id: str, detail: str, now: datetime) -> None:
    """Meta has blocked an account. Sends are still tried: Meta knows best when it takes them again."""
    _mark(_row(session, account_id), Trouble.BLOCKED, detail, now)


def throttle(session: Session, account_id: str, wait: timedelta | None, now: datetime) -> None:
    """Pauses an account that sends too fast: as long as it is told to, else twice as long each time."""
    account = _row(session, account_id)
    longer = THROTTLE_FIRST * 2 ** min(account.throttled, 10)
    account.paused_until = now + min(wait or longer, THROTTLE_MOST)
    account.throttled += 1


def falter(session: Session, account_id: str, now: datetime) -> None:
    """Graph left it open what became of a send. From the second in a row the account is paused as when it
    is throttled: while Graph is ill, what isn't sent yet stays certain.
    """
    account = _row(session, account_id)
    if account.throttled:
        account.paused_until = now + min(THROTTLE_FIRST * 2 ** min(account.throttled, 10), THROTTLE_MOST)
    account.throttled += 1


def mend(session: Session, account_id: str) -> None:
    """An account works again."""
    account = session.get(Account, account_id)
    if account and (account.trouble or account.throttled or account.paused_until):
        if account.trouble:
            log.info("account.mended", account=account_id)
        account.trouble = account.detail = account.since = account.paused_until = None
        account.throttled = 0


def alerts(session: Session) -> list[Alert]:
    """Every account in trouble, the longest first."""
    waiting = (
        sa.select(sa.func.count())
        .where(Message.account == Account.id, Message.status == Status.QUEUED)
        .scalar_subquery()
    )
    found = session.execute(
        sa.select(Account, waiting).where(Account.trouble.is_not(None)).order_by(Account.since)
    )
    return [
        Alert(row.id, Trouble(row.trouble), row.detail or "", row.since, count)
        for row, count in found
        if row.trouble and row.since
    ]


def _row(session: Session, account_id: str) -> Account:
    """The account's row, locked; two workers that meet trouble at once make one."""
    dialect = session.get_bind().dialect.name
    insert = sqlite.insert if dialect == "sqlite" else postgresql.insert
    session.execute(insert(Account).values(id=account_id, throttled=0).on_conflict_do_nothing())
    return session.get_one(Account, account_id, with_for_update=True, populate_existing=True)


def _mark(account: Account, trouble: Trouble, detail: str, now: datetime) -> None:
    if account.trouble != trouble:
        log.error("account.trouble", account=account.id, trouble=trouble.value, detail=detail)
        account.since = now
    account.trouble, account.detail = trouble, detail[:400]
