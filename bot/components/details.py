"""Order numbers, e-mails and the numbers that only look like one, as people type them.

spaCy's blank pipeline cuts the text into words and an entity ruler finds runs of digits. What a run
is, the word that names it, its neighbours and its length decide: a phone, card, tracking or postal
number, a price or a quantity is never taken for an order number. Korean and Japanese glue words to
numbers; for them the text before and after a run is read letter by letter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import spacy
from spacy.language import Language
from spacy.tokenizer import Tokenizer
from spacy.tokens import Span

ORDER_NUMBER, EMAIL = "order_number", "email"
PHONE, CARD, TRACKING = "phone_number", "card_number", "tracking_number"

# Letters of other scripts are no part of an address, but words glued to it.
_EMAIL = re.compile(r"\w(?:[\w.+'-]*\w)?@\w(?:[\w-]*\w)?(?:\.\w(?:[\w-]*\w)?)+", re.ASCII)
# Full-width forms such as ＃１００２３ as their usual ones, and a long-vowel mark typed as a dash.
_USUAL_FORMS = {0x3000: " ", **{code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}}
_DIGIT = re.compile(r"\d")
_DASH = re.compile(r"(?<=\d)[ー−‐–—](?=\d)")
_EASTERN = r"[぀-ヿ㐀-鿿가-힣ㄱ-ㆎ]"  # kana, Han, Hangul
_DATE = re.compile(
    r"\d{1,2}[./-]\d{1,2}[./-]\d{2,4}|(?:19|20)\d\d[./-]\d{1,2}[./-]\d{1,2}|\d{1,2}[./]\d{1,2}"
)
_DIALLED = re.compile(r"\+|\(|0[1-9]")
_MOBILE = re.compile(r"(?:01[016-9]|0[789]0)[-. ]?\d{3,4}[-. ]?\d{4}")  # Korea's and Japan's
_POSTAL = re.compile(r"\d{3}-\d{4}|0\d{4}")  # Japan's; Korea's, as far as no order number looks like it
_SHORTEST_TRACKING = 9  # "my parcel 10023" means the order
_PREFIXED = re.compile(r"([A-Za-z]{1,8})[-.]?(\d{3,})")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Words that name the number after them.
_NAMES = {
    ORDER_NUMBER: "order orders ordered ord orderid ordernumber orderno ordernr purchase confirmation",
    TRACKING: "tracking track parcel shipment consignment waybill awb trackingnumber",
    PHONE: "phone tel telephone mobile cell call whatsapp text fax ring reach",
    CARD: "card visa mastercard amex iban account debit credit bank ending",
    "other": "zip zipcode postcode postal pin pincode plz code invoice bill size model item sku room flat "
    "apartment street road avenue year since voucher coupon",
}
_NAMED = {word: kind for kind, words in _NAMES.items() for word in words.split()}
# What may stand between such a word and its number; the first row alone also makes an order number.
_COUNTERS = _words("# № number numbers no nr num nbr id ref reference")
_LINKS = _COUNTERS | _words("is was : . , - = ( ' ’ s 's it its it's my the")
_MONEY = _words("$ € £ ¥ ₩ usd eur gbp krw jpy")
_UNITS = _MONEY | _words(
    "% cm mm m km kg g lb lbs inch inches in ft feet x × day days week weeks month months hour hours hrs min "
    "minutes year years yrs pcs pieces pc items chairs blankets cushions pillows times am pm won euro euros "
    "dollar dollars pounds bucks yen percent people street road ave avenue"
)
_PLACES = _words("to in at from near within around about after before over under than until by for")
_OWN_PREFIXES = _words("ORDER ORD NO NR NUM NUMBER ID PURCHASE")
_SHOP_WORD = re.compile(
    r"order|parcel|packag|purchase|deliver|status|track|ship|bought|number|cancel|return"
    r"|주문|배송|택배|구매|발송|취소|반품|조회|언제|어디|注文|配送|発送|配達|届|荷物|購入|返品|キャンセル|オーダー|いつ|どこ",
    re.IGNORECASE,
)
# What people write around a bare detail.
_FILLERS = _words(
    "order orders number numbers no nr num ord id is was my the its it s and with email e mail address here "
    "hi hello hey sorry ok okay yes sure thanks please ref reference i m are these this that u you go for "
    "there ordered used"
)
# Korean and Japanese: what ends right before a run and names it, the first that matches.
_BEFORE = {
    kind: re.compile(
        rf"(?:{names})\s*(?:[은는이가의도은:=(「#№.→-]|は|が|の|も|no\.?|number|\s)*$", re.IGNORECASE
    )
    for kind, names in {
        "other": r"(?:우편|사업자|인증|비밀|상품|회원)\s?번호|품번|모델명?|쿠폰|가격|금액|총|합계|〒"
        r"|(?:郵便|認証|暗証|商品|会員)番号|認証コード|品番|型番|クーポン|価格|値段|金額|合計",
        PHONE: r"(?:전화|휴대폰|핸드폰|폰)(?:\s?번호)?|휴대전화|연락처|(?:電話|携帯)(?:番号)?|連絡先",
        TRACKING: r"운?송장(?:\s?번호)?|배송\s?번호|(?:追跡|伝票)番号|お?問い?合わ?せ番号",
        CARD: r"(?:카드|계좌)(?:\s?번호)?|(?:カード|口座)(?:番号)?",
        ORDER_NUMBER: "주문|오더|구매|번호|注文|オーダー|受注|購入|番号|ナンバー",
    }.items()
}
# And what begins right after it: first what makes it an amount, then what makes it an order.
_AMOUNT = re.compile(
    r"\s*(?:[만천]?\s?원|엔|유로|달러|개|장|명|분|시|일(?!까|지)|월|년|주(?!문)|회|층|호|동|세트|박스|인(?![데가지거것])|살|대|"
    r"평|인치|번째|번지|차|퍼센트|[万千]?円|ユーロ|ドル|ウォン|点|個|枚|本(?!日)|台|名|人|回|日|月|年|時|分|秒|週|"
    r"[かヶカケ]月|歳|階|号|丁目|番目|番地|センチ|ミリ|キロ|グラム|セット|箱|割|倍|脚|[%])"
)
_GOES_THERE = re.compile(
    r"\s*(?:(?:으?로|에|까지)도?\s*(?:배송|보내|발송|배달|받|전화|연락)|(?:へ|に|まで)も?(?:の?配送|の?発送|お?届け|送))"
)
_ORDERED = re.compile(r"\s*(?:번|番|(?:の|で|에|으?로)?\s*(?:ご?注文|オーダー|주문))")
_EASTERN_FILLER = re.compile(
    "(?:주문자?|번호|오더|이?메일|이멜|주소|아이디|확인|조회|부탁|드려요|드립니다|드릴게요|해요|해|주세요|입니다|이에요|에요|예요|"
    "이고요?|이구요|고요|구요|이요|요|은|는|이|가|고|번|네|넵|넹|예|아|음|안녕하세요|감사합니다|고맙습니다|죄송합니다|여기|있어요|"
    "있습니다|그리고|이랑|랑|와|과|하고|및|제|저|의|거|건|으로|로|인데|"
    "ご|お|注文|番号|オーダー|ナンバー|メール|アドレス|メアド|です|ですが|でした|でございます|になります|は|が|と|で|の|も|ね|"
    "願いします|願い致します|願いいたします|よろしく|宜しく|はい|ええ|こちら|以下|すみません|ありがとうございます|こんにちは|"
    "世話になっております|世話になります|確認|ください|下さい|します|いたします|致します)+"
)


@dataclass(frozen=True)
class Detail:
    """One number or e-mail: what it is, as the shop writes it, and where it stands."""

    kind: str
    value: str
    start: int
    end: int


def details_in(text: str) -> list[Detail]:
    """Every detail in the text, in its order; none overlap."""
    text = _DASH.sub("-", text.translate(_USUAL_FORMS))  # as long as before: places stay right
    emails = [Detail(EMAIL, m[0].lower(), m.start(), m.end()) for m in _EMAIL.finditer(text)]
    without_emails = _EMAIL.sub(lambda match: " " * len(match[0]), text)
    spans = _pipeline()(without_emails).ents if _DIGIT.search(without_emails) else ()
    numbers = [detail for span in spans if (detail := _detail(span))]
    return sorted(emails + numbers, key=lambda detail: detail.start)


def only_details(text: str, entities: Iterable[dict[str, Any]]) -> bool:
    """Whether next to nothing is left of a message without its order number and e-mail."""
    found = [e for e in entities if e["entity"] in (ORDER_NUMBER, EMAIL)]
    return bool(found) and _is_filler(_without(text, ((e["start"], e["end"]) for e in found)))


def _without(text: str, spans: Iterable[tuple[int, int]]) -> str:
    for start, end in sorted(spans, reverse=True):
        text = f"{text[:start]} {text[end:]}"
    return text


def _is_filler(text: str) -> bool:
    words = set(re.findall(r"[^\W_]+", text.lower()))
    return all(word in _FILLERS or _EASTERN_FILLER.fullmatch(word) for word in words)


@lru_cache(maxsize=1)
def _pipeline() -> Language:
    nlp = spacy.blank("xx")
    nlp.tokenizer = Tokenizer(
        nlp.vocab,
        prefix_search=re.compile(r"[^\w\s+]").match,
        suffix_search=re.compile(r"(?:[^\w\s])$").search,
        infix_finditer=re.compile(
            r"[#№:=(),;!?、。・「」【】〒~〜→]|(?<=\d)[$€£¥₩]|(?<=[A-Za-z])\.(?=\d)"
            rf"|(?<={_EASTERN})(?!{_EASTERN})|(?<!{_EASTERN})(?={_EASTERN})"
        ).finditer,
    )
    nlp.add_pipe("entity_ruler").add_patterns(_patterns())
    return nlp


def _patterns() -> list[dict[str, Any]]:
    def token(regex: str, times: str = "1") -> dict[str, Any]:
        return {"TEXT": {"REGEX": f"^(?:{regex})$"}, **({"OP": times} if times != "1" else {})}

    digits = r"\d[\d./-]*"
    runs = [
        [token(digits)],
        [token(r"[A-Za-z\d-]*\d[A-Za-z\d-]*")],  # A-10023, ord-10023, 1Z999AA10123456784
        [token(r"\d{1,3}"), token(r"\d{3}", "+")],  # 10 023
        [token(r"\d{4}"), token(r"\d{4}"), token(r"\d{4}"), token(r"\d{3,4}")],  # a card
        [token(rf"(?:\+|0){digits}"), token(digits, "*")],  # a phone: +49 170 1234567
        [token(r"\("), token(rf"\+?{digits}"), token(r"\)"), token(digits, "+")],  # (555) 123-4567
    ]
    return [{"label": "number", "pattern": run} for run in runs]


def _detail(span: Span) -> Detail | None:
    kind = _kind(span)
    if kind is None:
        return None
    value = _order_number(span.text) if kind == ORDER_NUMBER else re.sub(r"[^\w+]", "", span.text)
    return Detail(kind, value, span.start_char, span.end_char)


def _order_number(text: str) -> str:
    """Digits only; a shop's own letters in front stay: "ord-10023" → 10023, "a-10023" → A-10023."""
    prefixed = _PREFIXED.fullmatch(text)
    if prefixed and prefixed[1].upper() not in _OWN_PREFIXES:
        return text.upper()
    return re.sub(r"\D", "", text)


def _kind(span: Span) -> str | None:
    """What a run of digits is; None for a price, a date, a quantity, a year and the like."""
    digits = re.sub(r"\D", "", span.text)
    named = _named(span)
    if _DATE.fullmatch(span.text) or _measures(span) or named == "other" or len(digits) < 3:
        return None
    if _MOBILE.fullmatch(span.text) and named in (None, ORDER_NUMBER):
        return PHONE
    if _POSTAL.fullmatch(span.text) and named is None:
        return None
    if named != ORDER_NUMBER and 13 <= len(digits) <= 19 and _luhn(digits):
        return CARD
    if named == CARD or (named == TRACKING and len(digits) >= _SHORTEST_TRACKING):
        return named
    if named == PHONE or (named != ORDER_NUMBER and _DIALLED.match(span.text) and len(digits) >= 9):
        return PHONE
    if re.search("[A-Za-z]", span.text):
        return _kind_of_code(span.text, named)
    if named in (ORDER_NUMBER, TRACKING) or _alone(span):
        return ORDER_NUMBER if len(digits) <= 15 else TRACKING
    return _kind_of_unnamed(span, digits)


def _kind_of_code(code: str, named: str | None) -> str | None:
    """Letters and digits: an order number has a few letters in front; a longer mix is tracking."""
    prefixed = _PREFIXED.fullmatch(code)
    own = prefixed and prefixed[1].upper() in _OWN_PREFIXES
    if own or (prefixed and len(prefixed[1]) <= 4 and 4 <= len(prefixed[2]) <= 8):
        return ORDER_NUMBER
    if named == ORDER_NUMBER and prefixed:
        return ORDER_NUMBER
    return TRACKING if len(code) >= 10 and sum(map(str.isdigit, code)) >= 7 else None


def _kind_of_unnamed(span: Span, digits: str) -> str | None:
    """A number in a sentence that no word names: only its length and the talk around it tell."""
    if len(digits) >= 9:
        return PHONE if len(digits) <= 11 else TRACKING
    before = span.doc[span.start - 1].text if span.start else ""
    a_place = before.lower() in _PLACES or (span.start > 1 and before.istitle())
    rest = _without(span.doc.text, [(span.start_char, span.end_char)])
    a_place = a_place or _GOES_THERE.match(_after(span))
    return ORDER_NUMBER if len(digits) >= 5 and not a_place and _SHOP_WORD.search(rest) else None


def _named(span: Span) -> str | None:
    """What the word before a run, or the one before links such as "number is", calls it."""
    before = span.doc.text[max(0, span.start_char - 40) : span.start_char]
    for kind, names in _BEFORE.items():
        if names.search(before):
            return kind
    if len(span.text) > 3 and _ORDERED.match(_after(span)):
        return ORDER_NUMBER
    counted = False
    for token in reversed(span.doc[max(0, span.start - 5) : span.start]):
        word = token.lower_
        if word in _NAMED:
            return _NAMED[word]
        if word not in _LINKS:
            break
        counted = counted or word in _COUNTERS
    return ORDER_NUMBER if counted else None


def _measures(span: Span) -> bool:
    """Whether money or a unit stands next to a run, or it is part of one: "€ 120", "120 cm", "12,000"."""
    doc = span.doc
    if _AMOUNT.match(_after(span)) or re.match(r",\d{3}(?!\d)", _after(span)):
        return True
    before = doc[span.start - 1].lower_ if span.start else ""
    after = doc[span.end].lower_ if span.end < len(doc) else ""
    return before in _MONEY or after in _UNITS


def _alone(span: Span) -> bool:
    """Whether the message is this number and nothing that matters."""
    return _is_filler(_without(span.doc.text, [(span.start_char, span.end_char)]))


def _after(span: Span) -> str:
    return span.doc.text[span.end_char : span.end_char + 20]


def _luhn(digits: str) -> bool:
    """The check sum that every payment card carries (ISO/IEC 7812)."""
    doubled = [int(d) * (1 + i % 2) for i, d in enumerate(reversed(digits))]
    return sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0
