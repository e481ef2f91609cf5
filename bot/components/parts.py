"""The parts of a message: what a customer says in one breath often is two questions, or thanks and one."""

from __future__ import annotations

import re

# A rant says what it wants early on; what comes after is not read by the bot, but by a person.
MAX_CHARS = 1000
MAX_PARTS = 8

_ASKS = (  # how a question begins after a comma or an "and"
    r"(?:how|what|when|where|which|who|(?:can|could|do|did|will|would|should|may|are|is)\s+"
    r"(?:i|you|u|we|it|they|there|the|your|my|shipping|delivery)|does|any)\b"
)
_BREAK = re.compile(
    r"(?<=[.!?…])[\"')\]]*\s+|(?<=[。！？])|(?<=[!?])(?=[぀-ヿ㐀-鿿가-힣])|\n+"  # sentences and lines
    rf"|\s*[,;]?\s+(?:and|also|plus|but|or|btw|oh)\s+(?:also\s+|then\s+)?(?={_ASKS})"  # "… and can I …"
    rf"|\s*,\s+(?={_ASKS})"
    r"|[,，]?\s+(?=(?:그리고|그런데|근데|또한|아 참|참고로|혹시)\s)"
    r"|[、，,]\s*(?=(?:それと|それから|あと|また|ちなみに|ついでに)[、,]?)",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W_]|[\u2600-\U0001faff]")  # a letter, a digit or an emoji
_QUESTION = re.compile(
    r"[?？]|^\W*(?:and |also |so |but |ok(?:ay)? |hi |hello )*"
    r"(?:how|what|when|where|which|who|why|can|could|do|does|did|is|are|will|would|should|may|any)\b"
    r"|(?:나요|까요|는지요?|은가요|인가요|가요|되죠|되요|돼요|어떻게|언제|얼마|어디)\W*$"
    r"|(?:ですか|ますか|でしょうか|ませんか|かな|ですかね|ますかね|教えてください|知りたいです)\W*$",
    re.IGNORECASE,
)


def parts_of(text: str) -> list[str]:
    """The sentences and joined questions of a text, in its order; at least one, `text` itself if need be."""
    parts = [part.strip() for part in _BREAK.split(text[:MAX_CHARS]) if _WORD.search(part)]
    return parts[:MAX_PARTS] or [text[:MAX_CHARS]]


def is_question(part: str) -> bool:
    """Whether a part wants an answer, as far as its form tells."""
    return _QUESTION.search(part.strip()) is not None
