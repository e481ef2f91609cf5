"""The shop's orders: looking one up, and importing them."""

import csv
import re
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import TextIO

import sqlalchemy as sa
from email_validator import EmailNotValidError, validate_email
from sqlalchemy.orm import Session

from bot.domain.errors import BadInput
from bot.domain.rule import Found
from bot.facts import PROGRESS
from bot.store.tables import Order

COLUMNS = ("number", "email", "name", "status", "carrier", "tracking", "placed_at", "eta", "items")
REQUIRED = ("number", "email", "name", "status", "placed_at", "items")
DONE = ("delivered", "cancelled", "returned", "refunded")  # nobody asks where these are
FIELD_LIMIT = 10_000
SEPARATORS = {";": "semicolons", "\t": "tabs"}  # what spreadsheets write instead of commas


def normal_number(number: str) -> str:
    """An order number as it is stored and compared: "#10 023", "ORD-10023" and "10023" are one."""
    plain = re.sub(r"[^A-Z0-9]", "", number.upper())
    return re.sub(r"^(?:ORDER|ORD|NUMBER|NO|NR)+(?=\d)", "", plain)


def normal_email(email: str) -> str:
    """An e-mail as it is stored and compared."""
    return email.strip().lower()


def look_up(
    session: Session, number: str | None, email: str | None, verified_email: str | None
) -> tuple[Found, Order | None]:
    """The order that a customer may be told about.

    A known customer (`verified_email`) finds theirs by its number, or without one where it is plain
    which is meant: the only one that isn't done, or the only one. Anybody else must give the number
    and the e-mail it was placed with; a miss doesn't tell which of the two was wrong.
    """
    addresses = {normal_email(address) for address in (email, verified_email) if address}
    if number:
        order = session.get(Order, normal_number(number))
        return (Found.FOUND, order) if order and order.email in addresses else (Found.NOT_FOUND, None)
    if not verified_email:
        return Found.NOT_FOUND, None
    own = session.scalars(sa.select(Order).where(Order.email == normal_email(verified_email))).all()
    for choice in ([order for order in own if order.status not in DONE], own):
        if len(choice) == 1:
            return Found.FOUND, choice[0]
    return (Found.UNCLEAR, None) if own else (Found.NOT_FOUND, None)


def orders_of(session: Session, email: str) -> list[Order]:
    """A contact's orders, newest first."""
    query = sa.select(Order).where(Order.email == normal_email(email))
    return list(session.scalars(query.order_by(Order.placed_at.desc(), Order.number)))


def import_orders(session: Session, path: Path) -> int:
    """Imports a CSV file of `COLUMNS`, UTF-8; an order that is there already is replaced.

    Returns how many orders. Raises BadInput with the line and the reason of every bad row (the
    first twenty); the caller's transaction then imports nothing.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            orders = list(_read(file))
    except OSError as error:
        raise BadInput(f"{path}: can't be read ({error.strerror}).") from None
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: isn't UTF-8 (byte {error.start}); save it as UTF-8 and try again.") from None
    for order in orders:
        session.merge(order)
    return len(orders)


def _read(file: TextIO) -> Iterator[Order]:
    reader = csv.DictReader(file, strict=True)
    problems: list[str] = []
    seen: dict[str, int] = {}
    next_line = 1
    try:
        header = [(name or "").strip() for name in reader.fieldnames or ()]
        _check_form(header)
        missing = [name for name in COLUMNS if name not in header]
        if missing:
            raise BadInput(f"line 1: the header lacks {', '.join(missing)}; it must have {','.join(COLUMNS)}")
        reader.fieldnames = header
        next_line = reader.line_num + 1  # a quoted field may span lines: a row is named by its first
        for row in reader:
            line, next_line = next_line, reader.line_num + 1
            try:
                order = _order(row)
                if order.number in seen:
                    raise BadInput(f"order {order.number} is already on line {seen[order.number]}")
            except BadInput as error:
                problems.append(f"line {line}: {error}")
                continue
            seen[order.number] = line
            yield order
    except csv.Error as error:
        problems.append(f"line {next_line}: {error}")
    if problems:
        more = f"\n… and {len(problems) - 20} more" if len(problems) > 20 else ""
        raise BadInput("\n".join(problems[:20]) + more)


def _check_form(header: list[str]) -> None:
    """Raises BadInput for a file that isn't a table of commas."""
    if not any(header):
        raise BadInput(f"line 1: is empty; a file of orders begins with {','.join(COLUMNS)}")
    for mark, name in SEPARATORS.items():
        if len(header) == 1 and mark in header[0]:
            raise BadInput(
                f"line 1: the fields are separated by {name}; save the file as CSV with commas and try again"
            )


def _order(row: dict[str, str | None]) -> Order:
    """One row as an Order. Raises BadInput with the reason."""
    if None in row or any(row[name] is None for name in COLUMNS):
        raise BadInput("has too many or too few fields")
    cell = {name: (row[name] or "").strip() for name in COLUMNS}
    for name, value in cell.items():
        if name in REQUIRED and not value:
            raise BadInput(f"{name} is empty")
        if "\0" in value or len(value) > FIELD_LIMIT:
            raise BadInput(f"{name} is too long or has a NUL character")
    for name, limit in (("number", 40), ("name", 200), ("status", 40), ("carrier", 80), ("tracking", 120)):
        if len(cell[name]) > limit:
            raise BadInput(f"{name} is longer than {limit} characters")
    if not normal_number(cell["number"]):
        raise BadInput(f"number {cell['number']!r} has no digit or letter")
    return Order(
        number=normal_number(cell["number"]),
        email=_email(cell["email"]),
        name=cell["name"],
        status=_status(cell["status"]),
        carrier=cell["carrier"] or None,
        tracking=cell["tracking"] or None,
        placed_at=_date("placed_at", cell["placed_at"]),
        eta=_date("eta", cell["eta"]) if cell["eta"] else None,
        items=cell["items"],
    )


def _status(text: str) -> str:
    status = re.sub(r"[\s-]+", "_", text.lower())
    if status not in PROGRESS:
        raise BadInput(f"status {text!r} isn't known; known are {', '.join(PROGRESS)}")
    return status


def _email(text: str) -> str:
    try:
        validate_email(text, check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        raise BadInput(f"email {text!r} isn't an e-mail address") from None
    return normal_email(text)


def _date(name: str, text: str) -> date:
    """An ISO date, or the date of an ISO time."""
    try:
        return datetime.fromisoformat(text).date()
    except ValueError:
        raise BadInput(f"{name} {text!r} isn't a date like 2026-10-31") from None
