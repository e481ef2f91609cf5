"""Agents: accounts, log-ins and sessions."""

import hashlib
import hmac
import secrets
from datetime import datetime, timedelta

import sqlalchemy as sa
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from email_validator import EmailNotValidError, validate_email
from sqlalchemy.orm import Session

from bot.domain.errors import BadInput, Conflict, NotAllowed, NotLoggedIn
from bot.domain.texts import is_text
from bot.orders import normal_email
from bot.store.tables import Agent, AgentSession, LoginFailure

ROLES = ("agent", "supervisor")
PASSWORD_SHORTEST, PASSWORD_LONGEST = 10, 200
SESSION_AGE = timedelta(hours=12)  # a working day
FAILURE_WINDOW = timedelta(minutes=15)
_hasher = PasswordHasher()  # argon2id with the library's current parameters (RFC 9106, low memory)
_NOBODY = _hasher.hash(secrets.token_urlsafe())  # compared when the e-mail is unknown: same time spent


class TooManyLogins(NotAllowed):
    """Too many refused log-ins; try later."""


def add_agent(session: Session, email: str, name: str, role: str, password: str, now: datetime) -> Agent:
    """Creates an account. Raises BadInput, or Conflict if the e-mail has one."""
    try:
        validate_email(email, check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        raise BadInput("That isn't an e-mail address.") from None
    name = name.strip()
    if not is_text(name):
        raise BadInput("The name has a character that is no text.")
    if not 0 < len(name) <= 100:
        raise BadInput("The name must have 1 to 100 characters.")
    if role not in ROLES:
        raise BadInput(f"The role must be one of {', '.join(ROLES)}.")
    if not PASSWORD_SHORTEST <= len(password) <= PASSWORD_LONGEST:
        raise BadInput(f"The password must have {PASSWORD_SHORTEST} to {PASSWORD_LONGEST} characters.")
    agent = Agent(
        email=normal_email(email),
        name=name,
        role=role,
        password_hash=_hasher.hash(password),
        created_at=now,
    )
    if session.scalar(sa.select(Agent.id).where(Agent.email == agent.email)):
        raise Conflict(f"{agent.email} has an account already.")
    session.add(agent)
    session.flush()
    return agent


def set_password(agent: Agent, password: str) -> None:
    """Raises BadInput if it is too short or too long."""
    if not PASSWORD_SHORTEST <= len(password) <= PASSWORD_LONGEST:
        raise BadInput(f"The password must have {PASSWORD_SHORTEST} to {PASSWORD_LONGEST} characters.")
    agent.password_hash = _hasher.hash(password)


def check_pace(session: Session, email: str, address: str, now: datetime) -> None:
    """Slows guessing down. `address` is the caller's IP address. Raises TooManyLogins."""
    limits = _limits(email, address)
    failures = session.execute(
        sa.select(LoginFailure.key, sa.func.count())
        .where(LoginFailure.key.in_(limits), LoginFailure.at > now - FAILURE_WINDOW)
        .group_by(LoginFailure.key)
    )
    if any(count >= limits[key] for key, count in failures):
        raise TooManyLogins("Too many wrong log-ins. Wait a quarter of an hour and try again.")


def find_agent(session: Session, email: str) -> Agent | None:
    """The agent with this e-mail; None for one who may not log in any more, too."""
    its = sa.select(Agent).where(Agent.email == normal_email(email)[:320], Agent.deactivated_at.is_(None))
    return session.scalar(its)


def check_password(agent: Agent | None, password: str) -> bool:
    """Whether it is the agent's password. Takes as long where there is no such agent."""
    try:
        return _hasher.verify(agent.password_hash if agent else _NOBODY, password[:PASSWORD_LONGEST])
    except (VerificationError, InvalidHashError):
        return False


def note_failure(session: Session, email: str, address: str, now: datetime) -> None:
    """Counts a refused log-in."""
    session.add_all(LoginFailure(key=key, at=now) for key in _limits(email, address))
    session.execute(sa.delete(LoginFailure).where(LoginFailure.at < now - 2 * FAILURE_WINDOW))


def _limits(email: str, address: str) -> dict[str, int]:
    """How many failures are too many: few from one address, so that nobody locks an agent out from
    afar; more for one e-mail from everywhere together."""
    email = normal_email(email)[:320]
    return {f"{email} {address}"[:400]: 10, f"address {address}": 50, f"email {email}": 200}


def open_session(session: Session, agent: Agent, now: datetime) -> str:
    """Logs an agent in; returns the token for the cookie or the bearer header."""
    token = secrets.token_urlsafe(32)
    session.execute(sa.delete(AgentSession).where(AgentSession.expires_at < now))
    session.add(AgentSession(token_hash=_hash(token), agent_id=agent.id, expires_at=now + SESSION_AGE))
    return token


def agent_of(session: Session, token: str, now: datetime) -> Agent:
    """Whose session it is. Raises NotLoggedIn."""
    found = session.get(AgentSession, _hash(token)) if token else None
    if found is None or found.expires_at < now or found.agent.deactivated_at:
        raise NotLoggedIn("Log in first.")
    return found.agent


def close_session(session: Session, token: str) -> None:
    """Logs out; nothing happens if there is no such session."""
    session.execute(sa.delete(AgentSession).where(AgentSession.token_hash == _hash(token)))


def close_sessions(session: Session, agent: Agent, kept: str = "") -> None:
    """Logs an agent out everywhere, but not where the token is `kept`."""
    theirs = sa.delete(AgentSession).where(AgentSession.agent_id == agent.id)
    session.execute(theirs.where(AgentSession.token_hash != _hash(kept)))


def csrf_token(token: str) -> str:
    """What a form of this session's pages must carry; another site can't know it."""
    return hmac.new(token.encode(), b"csrf", hashlib.sha256).hexdigest()


def same(one: str, other: str) -> bool:
    """Compares secrets in constant time."""
    return hmac.compare_digest(one.encode(), other.encode("utf-8", "replace"))


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
