"""Whether a customer says that nothing has arrived, and that it is told to be delivered.

An order's status answers "where is it?"; to "it says delivered, and I have nothing" it is no answer. One
intent for both can't tell them apart, so what is missing is found by its words.
"""

from __future__ import annotations

import re

MISSING = "missing"  # the entity's name; its value is one of these two
NOT_HERE, DELIVERED = "not_here", "delivered"

_GOT = (
    r"(?:rec(?:ei|ie)v\w*|arriv\w*|got|gotten|get|have|came|come|here|there|show\w*|turn\w*|seen?|saw|"
    r"find|found)"
)
_PARCEL = r"(?:parcel|package|packet|delivery|box|order|sign|trace|thing)"
_NOT_HERE = re.compile(
    rf"(?:\b(?:not|never|nothing|none|neither)\b|n['’]t\b|\b(?:dont|didnt|havent|hasnt|isnt|wasnt)\b)"
    rf"[^.?!\n]{{0,25}}?\b{_GOT}\b"
    rf"|\b(?:have|has|had|got|see|found?|there['’]?s?(?: is)?)\s+(?:nothing|no {_PARCEL})\b"
    rf"|\bnothing (?:here|there|at|in|on)\b|\bno {_PARCEL}\b|\bmissing\b|\bwhere is it\b"
    r"|(?:못|안)\s*(?:받|왔|오|도착)|(?:받|오|도착하|도착하질|오질|받질)지?\s*(?:못|않)|없(?:어|는|습|네|다|음)|아무것도"
    r"|(?:届い|来|受け?取[っれ]|到着し)(?:て(?:い|お)?)?(?:ない|なく|ませ|りませ)|届きませ|届かな|ておりませ|何も"
    r"|ありませ|見当たら|見つから|な(?:いです|いんです|いのです|い。|い$)",
    re.IGNORECASE,
)
# Somebody says so; "when will it be delivered" and "it hasn't been" aren't that.
_DELIVERED = re.compile(
    r"\b(?:says?|said|saying|shows?|showed|showing|shown|states?|stated|claims?|claimed|marked|listed|status|"
    r"tracking|carrier|courier|driver|dhl|ups|fedex|apparently|supposedly|allegedly|reads?)\b"
    r"(?:(?!\b(?:not|never|be|until|when)\b|n['’]t\b)[^.?!\n]){0,40}\bdelivered\b"
    r"|(?<!\bnot )(?<!\bbe )(?<!n['’]t )(?<!\bnever )\bdelivered\b"
    r"[^.?!\n]{0,25}\b(?:but|though|although|and yet|however)\b"
    r"|(?:배송|배달)\s*(?:이\s*)?"
    r"(?:완료(?!\s*(?:까지|되면|하면|예정|될|일|는|가\s*언제))|(?:됐|되었)다(?:고|는|던)|된\s*(?:걸|것으)로)"
    r"|(?:配達|配送|お?届け)(?:は|が)?(?:完了|済み?|された)(?!予定|まで|日|する|しない)|(?:届い|届け)たことに",
    re.IGNORECASE,
)


def missing_in(text: str) -> tuple[str, tuple[int, int]] | None:
    """`delivered` if it is told to be and isn't there, else `not_here`; and where the latter is said.

    None if it isn't said.
    """
    found = _NOT_HERE.search(text)
    if not found:
        return None
    return DELIVERED if _DELIVERED.search(text) else NOT_HERE, found.span()
