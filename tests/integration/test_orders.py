"""Orders: importing them, and telling the right customer about them."""

from datetime import date
from pathlib import Path

import pytest

from bot import orders
from bot.domain.errors import BadInput
from bot.domain.rule import Found
from bot.store.engine import Store
from bot.store.tables import Order

HEADER = "number,email,name,status,carrier,tracking,placed_at,eta,items\n"
GOOD = "10023,Mina@Example.com,Mina Park,Shipped,DHL,JD01,2026-11-19,2026-11-25,Wool blanket\n"


def imported(store: Store, folder: Path, text: str | bytes) -> int:
    path = folder / "orders.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with store.unit_of_work() as session:
        return orders.import_orders(session, path)


def refused(store: Store, folder: Path, text: str | bytes) -> str:
    with pytest.raises(BadInput) as caught:
        imported(store, folder, text)
    with store.read() as session:
        assert session.query(Order).count() == 0
    return str(caught.value)


def test_orders_are_imported_and_imported_again_without_harm(store: Store, tmp_path: Path):
    more = '10024,jonas@example.com,Jonas,in transit,,,2026-11-20T10:00:00,,"Chair, oak"\n'
    assert imported(store, tmp_path, HEADER + GOOD + more) == 2
    assert imported(store, tmp_path, "\ufeff" + HEADER + GOOD.replace("Shipped", "delivered")) == 1
    with store.read() as session:
        first, second = session.query(Order).order_by(Order.number)
        assert (first.status, first.email, first.eta) == ("delivered", "mina@example.com", date(2026, 11, 25))
        assert (second.status, second.carrier, second.eta) == ("in_transit", None, None)
        assert second.items == "Chair, oak"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (",a@example.com,A,shipped,,,2026-11-19,,x\n", "line 3: number is empty"),
        ("###,a@example.com,A,shipped,,,2026-11-19,,x\n", "line 3: number '###' has no digit"),
        ("1,nobody,A,shipped,,,2026-11-19,,x\n", "line 3: email 'nobody'"),
        ("1,a@example.com,A,shipped,,,19.11.2026,,x\n", "line 3: placed_at '19.11.2026'"),
        ("1,a@example.com,A,shipped,,,2026-11-19junk,,x\n", "line 3: placed_at '2026-11-19junk'"),
        ("1,a@example.com,A,shipped,,,2026-02-30,,x\n", "line 3: placed_at '2026-02-30'"),
        ("1,a@example.com,A,shipped,,,2026-11-19,soon,x\n", "line 3: eta 'soon'"),
        ("1,a@example.com\n", "line 3: has too many or too few fields"),
        ("1,a@example.com,A,shipped,,,2026-11-19,,x,y\n", "line 3: has too many or too few fields"),
        (
            "1,a@example.com,A,teleported,,,2026-11-19,,x\n",
            "line 3: status 'teleported' isn't known; known are new, open, placed, paid, processing, packed, ",
        ),
        ("#10 023,a@example.com,A,shipped,,,2026-11-19,,x\n", "line 3: order 10023 is already on line 2"),
        (f"1,a@example.com,{'A' * 201},shipped,,,2026-11-19,,x\n", "line 3: name is longer"),
        ('1,a@example.com,"A,shipped\n', "line 3"),
    ],
)
def test_a_bad_row_is_named_and_nothing_is_half_imported(store: Store, tmp_path: Path, row: str, reason: str):
    assert reason in refused(store, tmp_path, HEADER + GOOD + row)


def test_every_bad_row_is_named_at_once(store: Store, tmp_path: Path):
    text = HEADER + ",,,,,,,,\n" + GOOD + "1,x,A,shipped,,,2026-11-19,,x\n"
    assert [line.split(":")[0] for line in refused(store, tmp_path, text).splitlines()] == [
        "line 2",
        "line 4",
    ]


@pytest.mark.parametrize("status", ["In-Transit", "in transit", "IN_TRANSIT"])
def test_a_status_is_known_however_it_is_written(store: Store, tmp_path: Path, status: str):
    imported(store, tmp_path, HEADER + GOOD.replace("Shipped", status))
    with store.read() as session:
        assert session.get_one(Order, "10023").status == "in_transit"


def test_an_order_number_is_stored_as_the_bot_reads_it(store: Store, tmp_path: Path):
    imported(store, tmp_path, HEADER + GOOD.replace("10023", "#10023"))
    with store.read() as session:
        assert orders.look_up(session, "10023", "mina@example.com", None)[0] is Found.FOUND


def test_an_empty_file_and_one_with_other_separators_are_named_as_such(store: Store, tmp_path: Path):
    for text in ("", "\n", " \n\n"):
        assert refused(store, tmp_path, text).startswith(
            "line 1: is empty; a file of orders begins with number,"
        )
    for mark, name in ((";", "semicolons"), ("\t", "tabs")):
        text = (HEADER + GOOD).replace(",", mark)
        assert refused(store, tmp_path, text) == (
            f"line 1: the fields are separated by {name}; save the file as CSV with commas and try again"
        )


@pytest.mark.parametrize("text", ["", "number,email\n", "a;b;c\n", HEADER.replace("eta,", "")])
def test_a_wrong_header_is_named(store: Store, tmp_path: Path, text: str):
    assert "line 1" in refused(store, tmp_path, text)


def test_a_wrong_encoding_is_named(store: Store, tmp_path: Path):
    assert "UTF-8" in refused(store, tmp_path, (HEADER + GOOD.replace("Mina P", "Mïna P")).encode("latin-1"))
    assert "UTF-8" in refused(store, tmp_path, (HEADER + GOOD).encode("utf-16"))


def test_a_missing_file_is_named(store: Store, tmp_path: Path):
    with pytest.raises(BadInput, match="can't be read"), store.unit_of_work() as session:
        orders.import_orders(session, tmp_path / "none.csv")


class TestLookUp:
    """A stranger needs number and e-mail; a known customer the number, or nothing where it is plain."""

    @pytest.fixture(autouse=True)
    def shop(self, store: Store, tmp_path: Path) -> None:
        self.store = store
        imported(
            store,
            tmp_path,
            HEADER
            + GOOD
            + "10021,mina@example.com,Mina,delivered,,,2026-11-01,,Table\n"
            + "A-77,jonas@example.com,Jonas,shipped,,,2026-11-01,,Chair\n"
            + "A-78,jonas@example.com,Jonas,processing,,,2026-11-02,,Lamp\n",
        )

    def find(self, number: str | None, email: str | None, verified: str | None = None) -> str | None:
        with self.store.read() as session:
            found, order = orders.look_up(session, number, email, verified)
            return order.number if order else found.value

    @pytest.mark.parametrize("number", ["10023", "#10023", "10 023", "ORD-10023", "order no 10023"])
    def test_number_and_e_mail_must_match_in_any_form(self, number: str):
        assert self.find(number, " MINA@example.com") == "10023"

    def test_a_miss_does_not_tell_which_was_wrong(self):
        wrong_number = self.find("99999", "mina@example.com")
        wrong_email = self.find("10023", "jonas@example.com")
        assert wrong_number == wrong_email == Found.NOT_FOUND.value

    def test_an_e_mail_alone_finds_nothing(self):
        assert self.find(None, "mina@example.com") == "not_found"

    def test_a_known_customer_gives_the_number_alone(self):
        assert self.find("a77", None, "jonas@example.com") == "A77"
        assert self.find("10023", None, "jonas@example.com") == "not_found"

    def test_a_known_customer_with_one_open_order_gives_nothing(self):
        assert self.find(None, None, "mina@example.com") == "10023"

    def test_a_known_customer_with_several_is_asked(self):
        assert self.find(None, None, "jonas@example.com") == "unclear"

    def test_a_known_customer_without_orders_has_none(self):
        assert self.find(None, None, "new@example.com") == "not_found"
