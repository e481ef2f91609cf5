"""An order as the responses in `domain.yml` put it."""

from datetime import date

from bot.components.times import spoken_day
from bot.store.tables import Order

# Every status that an import takes; an order that came another way with another is `other`.
PROGRESS = {
    "new": "processing",
    "open": "processing",
    "placed": "processing",
    "paid": "processing",
    "processing": "processing",
    "packed": "processing",
    "shipped": "shipped",
    "sent": "shipped",
    "in_transit": "shipped",
    "on_the_way": "shipped",
    "out_for_delivery": "out_for_delivery",
    "delivered": "delivered",
    "cancelled": "cancelled",
    "canceled": "cancelled",
    "returned": "returned",
    "refunded": "returned",
}
UNDER_WAY = ("processing", "shipped")  # late, once the day it was due has passed


def facts_of(order: Order, today: date, language: str) -> dict[str, str | None]:
    """What can be told about an order, in a language; None where nothing is known."""
    progress = PROGRESS.get(order.status, "other")
    if progress in UNDER_WAY and order.eta and order.eta < today:
        progress = "late"
    return {
        "progress": progress,
        "number": order.number,
        "placed_at": spoken_day(order.placed_at, language),
        "items": order.items,
        "carrier": order.carrier,
        "tracking": order.tracking,
        "eta": spoken_day(order.eta, language) if order.eta else None,
    }
