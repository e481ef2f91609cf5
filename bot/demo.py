"""Something to try on the first start: a few orders and one supervisor with a random password."""

import secrets
from datetime import date, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bot.desk.agents import add_agent
from bot.services import utc_now
from bot.store.tables import Agent, Order

EMAIL = "supervisor@example.com"
# number, e-mail, name, status, carrier, tracking, placed (days ago), due (days from now), items
ORDERS = (
    ("10021", "mina@example.com", "Mina Park", "delivered", "DHL", "JD014600010021", 19, -12, "Oak side table"),
    ("10023", "mina@example.com", "Mina Park", "shipped", "DHL", "JD014600010023", 3, 2, "Wool blanket, grey"),
    ("10024", "jonas@example.com", "Jonas Weber", "processing", None, None, 1, 6, "2 linen cushions"),
    ("10025", "yuki@example.com", "Yuki Tanaka", "out_for_delivery", "Yamato", "4416-2200-10025", 6, 0, "Desk lamp"),
    ("10026", "sofia@example.com", "Sofia Rossi", "cancelled", None, None, 8, None, "Armchair, moss green"),
    ("10027", "liam@example.com", "Liam Murphy", "shipped", "Royal Mail", "RM 1002 7000 1GB", 11, -2, "Bed linen set"),
)  # fmt: skip


def seed(session: Session) -> tuple[str, str] | None:
    """Adds the demo orders and supervisor to an empty database.

    Returns the supervisor's e-mail and password, to be printed once; None if anybody has an account.
    """
    if session.scalar(sa.select(Agent.id).limit(1)) is not None:
        return None
    if session.scalar(sa.select(Order.number).limit(1)) is None:
        session.add_all(_orders(utc_now().date()))
    password = secrets.token_urlsafe(12)
    add_agent(session, EMAIL, "Robin", "supervisor", password, utc_now())
    return EMAIL, password


def _orders(today: date) -> list[Order]:
    return [
        Order(
            number=number,
            email=email,
            name=name,
            status=status,
            carrier=carrier,
            tracking=tracking,
            placed_at=today - timedelta(days=ago),
            eta=None if due is None else today + timedelta(days=due),
            items=items,
        )
        for number, email, name, status, carrier, tracking, ago, due, items in ORDERS
    ]
