"""What a supervisor's words find, and what they don't."""

import pytest

from bot.domain.mentions import addressed, mentions


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("How much is SHIPPING to Norway?", "shipping"),
        ("what is the order\n  status of it", "order status"),
        ("shipping", "shipping"),
        ("(shipping)", "shipping"),
        ("It was delivered yesterday", "deliver*"),
        ("배송은 언제 오나요?", "배송"),
        ("주문상태 좀 알려주세요", "주문 상태"),
        ("주문 상태가 궁금해요", "주문상태"),
        ("配送はいつ届きますか", "配送"),
        ("ﾊｲｿｳについて", "ハイソウ"),  # half-width kana are the same letters
        ("order는 어디 있나요", "order"),  # a Korean particle after an English word
        ("Straße", "STRASSE"),
    ],
)
def test_a_mention_is_found(text: str, phrase: str):
    assert mentions(text, [phrase]) == phrase


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("our relationship", "ship"),
        ("shipping", "ship"),
        ("reorder status", "order status"),
        ("status of my order", "order status"),
        ("환불해 주세요", "배송"),
        ("", "shipping"),
        ("anything at all", "*"),
        ("anything at all", "  "),
        ("a.b", "a+b"),
    ],
)
def test_what_only_looks_like_it_is_not_found(text: str, phrase: str):
    assert mentions(text, [phrase]) is None


def test_the_first_phrase_that_is_found_is_told():
    assert mentions("Is express shipping free?", ["refund", "express", "shipping"]) == "express"


def test_long_texts_and_what_would_be_a_costly_pattern_are_plain_words():
    assert mentions("a" * 50_000, ["a" * 79 + "b*", "(a+)+$", ".*"] * 20) is None
    assert mentions("배" * 50_000, ["배" * 79 + "송"] * 60) is None


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("@anna please look", {"Anna"}),
        ("@Anna Lee, please look", {"Anna Lee"}),  # and not Anna
        ("@Anna and @Anna Lee", {"Anna", "Anna Lee"}),
        ("cc @ANNA LEE.", {"Anna Lee"}),
        ("@Annabel", set()),
        ("@Anna님 @민수님", {"Anna", "민수"}),  # and not 민
        ("@민은 어디에", {"민"}),
        ("@José or @Joséphine", {"José"}),
        ("@J. R. looks", {"J. R."}),
        ("me@anna.example @@Anna Anna", set()),
        ("", set()),
    ],
)
def test_at_each_at_sign_the_longest_name_is_meant(text: str, names: set[str]):
    assert addressed(text, ["Anna", "Anna Lee", "민", "민수", "José", "J. R.", ""]) == names
    assert addressed(text, []) == set()
