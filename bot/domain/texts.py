"""What is a text; how long a message may be on a channel, and how a longer one is cut."""

from bot.domain.words import Channel

MESSENGER_LIMIT = 2_000  # characters in one message of the Send API
INSTAGRAM_LIMIT = 1_000  # bytes of UTF-8 (Instagram's Send API)
ENDS = ("\n", ". ", "! ", "? ", "。", "！", "？")


def is_text(value: str) -> bool:
    """Whether a database can hold it and a page show it: no NUL, and no half of a character."""
    return "\0" not in value and not any("\ud800" <= char <= "\udfff" for char in value)


def split(text: str, channel: Channel) -> list[str]:
    """A text as the messages that a channel takes, cut at a sentence or a word where possible.

    The same text is always cut alike, so a part that was sent is known again after a restart. The web
    chat takes any length.
    """
    text = text.strip()
    if channel is Channel.WEB:
        return [text] if text else []
    parts = []
    while text:
        cut = _cut(text, _room(text, channel))
        parts.append(text[:cut].strip())
        text = text[cut:].strip()
    return parts


def _room(text: str, channel: Channel) -> int:
    """How many characters of a text fit into one message."""
    if channel is Channel.INSTAGRAM:
        return len(text.encode()[:INSTAGRAM_LIMIT].decode(errors="ignore"))
    return MESSENGER_LIMIT


def _cut(text: str, room: int) -> int:
    if len(text) <= room:
        return len(text)
    head = text[:room]
    ends = [head.rfind(end) + len(end) for end in ENDS if end in head]
    cut = max(ends, default=0)
    if cut < room // 2:
        cut = head.rfind(" ") + 1 or room
    return cut
