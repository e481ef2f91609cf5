"""How an answer reads: what a colleague would say about it before it goes out.

Plain functions on text. They warn; nobody is kept from sending.
"""

import re
import unicodedata
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import Enum

CANNED = 0.8  # how like a stored text an answer is that was inserted and left as it was
SHORTEST = 25  # characters; a shorter answer is like any other of its kind
COMPARED = 2_000  # characters

# What everybody writes who has nothing to say: no customer who is upset believes it.
_STOCK = re.compile(
    r"we (?:sincerely |deeply )?apologi[sz]e for (?:any|the) inconvenience"
    r"|sorry for (?:any|the) inconvenience|your (?:call|message|feedback) is important to us"
    r"|we (?:value|appreciate) your (?:business|patience|feedback)|thank you for your patience"
    r"|we understand your frustration|please be advised|at your earliest convenience"
    r"|불편을 ?드려 (?:대단히 |진심으로 )?죄송(?:합니다|해요|하며)|양해 ?부탁드립니다|너른 양해"
    r"|고객님의 소중한 의견|최선을 다하겠습니다"
    r"|ご不便をおかけし(?:て|まして)?(?:大変)?申し訳(?:ござい|あり)ません|ご迷惑をおかけし(?:て|まして)?(?:大変)?申し訳"
    r"|ご了承ください|ご理解(?:ください|のほど)|貴重なご意見",
    re.IGNORECASE,
)
_ASKS = (
    r"(?:what(?:'s| is)|send|give|share|tell|provide|confirm|message|need|post|reply with"
    r"|let (?:me|us) (?:know|have))"
)
_DETAIL = (
    r"(?:order (?:number|no|id)|e-?mail|phone(?: number)?|address|date of birth|password|card(?: number)?"
    r"|account (?:number|details|name)|tracking number|full name|zip|postcode)"
)
_ACCOUNT = re.compile(
    rf"\b{_ASKS}\b[^.!?\n]{{0,60}}\byour\b[^.!?\n]{{0,30}}\b{_DETAIL}\b"
    rf"|\byour (?:\w+ ){{0,2}}{_DETAIL}\b[^.!\n]{{0,40}}\?"
    r"|(?:주문 ?번호|이메일|메일 ?주소|전화 ?번호|연락처|주소|성함|비밀번호|카드 ?번호|생년월일)"
    r"[^.!?\n]{0,25}(?:알려|보내|남겨|적어|주시|주세요|말씀|확인 ?부탁|어떻게 되)"
    r"|(?:注文番号|メールアドレス|電話番号|ご?住所|お?名前|パスワード|カード番号|生年月日)[^。!?！？\n]{0,25}"
    r"(?:教えて|お知らせ|送って|お送り|ご記入|お聞かせ|ご連絡|ください|いただけ)",
    re.IGNORECASE,
)


class Fault(str, Enum):
    """What is wrong with an answer."""

    CANNED = "canned"  # a stored text, to somebody who is upset
    STOCK = "stock"  # a stock phrase, to somebody who is upset
    PUBLIC = "public"  # asks for account details where everybody reads


@dataclass(frozen=True)
class Caution:
    """A fault, and the words of the answer that show it."""

    fault: Fault
    words: str = ""


def warnings(text: str, upset: bool, public: bool, stored: list[str]) -> list[Caution]:
    """What to think of before this goes out.

    `upset`: whether the customer is; `public`: whether others read it; `stored`: the texts that could have
    been inserted, filled in for this customer.
    """
    found = []
    if public and (asked := _ACCOUNT.search(text)):
        found.append(Caution(Fault.PUBLIC, asked[0]))
    if upset and any(is_like(text, one) for one in stored):
        found.append(Caution(Fault.CANNED))
    if upset and (stock := _STOCK.search(text)):
        found.append(Caution(Fault.STOCK, stock[0]))
    return found


def is_like(text: str, stored: str) -> bool:
    """Whether a text is a stored one, or nearly: own words around or within it make it one's own."""
    one, other = _plain(text), _plain(stored)
    if min(len(one), len(other)) < SHORTEST:
        return False
    match = SequenceMatcher(None, one, other, autojunk=False)
    return match.quick_ratio() >= CANNED and match.ratio() >= CANNED


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).lower().split())[:COMPARED]
