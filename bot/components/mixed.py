"""What a message of several parts is about, from what is read in the whole and in each part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bot.domain.words import Remark, Topic

MOST_TOPICS = 2  # in one reply; a customer with more questions than that talks to a person
# From here on (a confidence) the whole message is clear: a question in it that means nothing by itself
# ("and how would that work?") belongs to it. Only what is as clearly no matter of a shop's stands apart.
CLEAR, STRANGE = 0.8, 0.9
# What isn't understood goes to a person anyway; from here on the likeliest reason for one is named.
LIKELY = 0.3
_NAMED = (Remark.ASK_PERSON.value, Remark.ACCOUNT.value, Remark.NO_DETAILS.value)

_TOPICS = frozenset(topic.value for topic in Topic)
# What goes to a person wherever in the message it stands, the first that is found.
_PEOPLE = tuple(
    remark.value for remark in (Remark.ASK_PERSON, Remark.NOT_SOLVED, Remark.ACCOUNT, Remark.NO_DETAILS)
)
# What is said around a question, and isn't one.
_AROUND = frozenset(
    remark.value for remark in (Remark.GREET, Remark.ACK, Remark.THANKS, Remark.SETTLED, Remark.GIVE_DETAILS)
)


@dataclass(frozen=True)
class Guess:
    """The likeliest intent of a text, and how likely it is the right one (0 to 1)."""

    intent: str
    confidence: float
    question: bool = False  # by its form


@dataclass(frozen=True)
class Matter:
    """What a message is about; no intent: not sure enough."""

    intent: str | None
    confidence: float
    also: tuple[str, ...] = ()  # further topics, each as sure as the first


def matter_of(whole: Guess, parts: Sequence[Guess], threshold: float) -> Matter:
    """Puts the readings together; with no or one part the whole alone counts.

    A wish for a person, or an account, in any part is the message's. Topics of several parts stand
    side by side; a question among them that isn't understood makes all of it unsure, since half an
    answer is a poor one, unless the whole is clear: then it only refers to the rest. Greetings and
    thanks around something else are no more than that, and what else it is must be sure.
    """
    sure = [part for part in parts if part.confidence >= threshold]
    not_understood = [part for part in parts if part.question and _is_open(part, whole, threshold)]
    whole_is_sure = whole.confidence >= threshold
    topics = _topics(sure)
    for intent in _PEOPLE:
        found = [guess for guess in ([whole] if whole_is_sure else []) + sure if guess.intent == intent]
        if found:
            return Matter(intent, found[0].confidence, topics)
    if len(topics) > 1:
        if not_understood or len(topics) > MOST_TOPICS:
            return Matter(None, whole.confidence, topics)
        least = min(part.confidence for part in sure if part.intent in topics)
        return Matter(topics[0], least, topics[1:])
    differs = any(part.intent != whole.intent for part in not_understood)
    if differs and (topics or whole.intent in _AROUND):
        return Matter(None, whole.confidence, topics)
    if whole_is_sure and whole.intent not in _AROUND:
        return Matter(whole.intent, whole.confidence)
    if topics and (whole.intent == topics[0] or len(sure) == len(parts)):
        return Matter(topics[0], max(part.confidence for part in sure if part.intent == topics[0]))
    says_more = whole.intent in _AROUND and any(part.intent not in _AROUND for part in parts)
    return Matter(whole.intent if whole_is_sure and not says_more else None, whole.confidence)


def named(matter: Matter, whole: Guess) -> Matter:
    """A matter that isn't sure, with the reason for a person that the whole message most likely is."""
    likely = matter.intent is None and whole.intent in _NAMED and whole.confidence >= LIKELY
    return replace(matter, intent=whole.intent) if likely else matter


def _is_open(part: Guess, whole: Guess, threshold: float) -> bool:
    """Whether a question is left open by what was read in the message."""
    strange = part.intent == Remark.OUT_OF_SCOPE.value and part.confidence >= STRANGE
    refers_back = whole.confidence >= CLEAR and whole.intent not in _AROUND
    return strange or (part.confidence < threshold and not refers_back)


def unanswered(matter: Matter) -> Matter:
    """For whoever may be upset: what needs a person still does; anything else counts as unsure, noted."""
    if matter.intent is None or matter.intent in _PEOPLE:
        return matter
    asked = (matter.intent,) if matter.intent in _TOPICS else ()
    return Matter(None, matter.confidence, asked + matter.also)


def _topics(parts: Sequence[Guess]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.intent for part in parts if part.intent in _TOPICS))
