"""What a colleague would say about an answer before it goes out."""

import pytest

from bot.domain.voice import Fault, warnings

STORED = "Hello Mina, you can return it within 30 days. Just print the label and bring it to the post office."


def faults(text: str, upset: bool = False, public: bool = False) -> list[Fault]:
    return [one.fault for one in warnings(text, upset, public, [STORED])]


def test_a_stored_text_to_an_upset_customer_is_warned_of():
    assert faults(STORED, upset=True) == [Fault.CANNED]
    assert faults(STORED.replace("Hello", "Dear"), upset=True) == [Fault.CANNED]
    assert faults(STORED) == [], "to anybody else it is what it was stored for"


def test_own_words_make_it_ones_own():
    own = "Mina, three broken lamps in a row is awful, and I would be angry, too. I have just ordered a courier to "
    assert (
        faults(own + "your door for tomorrow, so there is no label to print. " + STORED[:40], upset=True)
        == []
    )


@pytest.mark.parametrize(
    "text",
    [
        "We apologize for any inconvenience.",
        "고객님, 불편을 드려 죄송합니다.",
        "ご不便をおかけして申し訳ございません。",
    ],
)
def test_stock_phrases_to_an_upset_customer_are_warned_of(text: str):
    assert faults(text, upset=True) == [Fault.STOCK]
    assert faults(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "Could you send me your order number?",
        "What's your e-mail address?",
        "Please give us your full name and phone number.",
        "주문번호를 알려 주세요.",
        "이메일 주소가 어떻게 되세요?",
        "注文番号を教えていただけますか。",
        "ご住所をお知らせください。",
    ],
)
def test_nobody_is_asked_for_account_details_in_public(text: str):
    assert faults(text, public=True) == [Fault.PUBLIC]
    assert faults(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "Your order is on its way.",
        "I've sent you a private message.",
        "주문이 출발했습니다.",
        "発送いたしました。",
        "",
    ],
)
def test_what_asks_for_nothing_is_fine_in_public(text: str):
    assert faults(text, public=True) == []
