"""The reply assistant: what an agent might answer, ranked; never sent by itself.

Topic answers come from the shop's own words in `domain.yml`, filled with this customer's order. Saved
replies are found by meaning: the encoder lives in Rasa's process and is asked there, since a second copy
of it would cost this one more memory than all the rest (docs/adr/0014).
"""

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache

import structlog
from sqlalchemy.orm import Session

from bot.brain import Brain, Reading, Vector, Words
from bot.desk import saved
from bot.desk.detail import Detail
from bot.domain.errors import BrainDown
from bot.domain.words import Topic
from bot.facts import facts_of
from bot.orders import DONE, normal_number
from bot.services import Services
from bot.settings import ROOT, Settings
from bot.store.desk_tables import SavedReply
from bot.store.search import terms
from bot.store.tables import Order

MOST = 3  # suggestions
SURE = 0.6  # confidence from which a topic's answer comes before saved replies
LIKELY = 0.25  # below it a topic isn't suggested
CLOSE = (
    0.33  # likeness of meaning from which a saved reply is suggested: of nine questions in three languages
)
# the right one had 0.36 to 0.78, and where none was right the best had 0.26
LAST = 10  # of the customer's messages that are looked at
KEPT = 2_000  # vectors that are kept: 4 MB
log = structlog.get_logger()


@dataclass(frozen=True)
class Case:
    """What a suggestion is made from, read in one go."""

    said: tuple[str, ...]  # by the customer, since the last answer
    topic: Topic | None  # of the open hand-off: what they want, as far as the bot understood
    language: str
    order: Order | None
    values: dict[str, str | None]  # of the variables
    facts: dict[str, str | None] | None  # of the order
    replies: list[SavedReply]

    @property
    def text(self) -> str:
        """All that they said, a line each."""
        return "\n".join(self.said)


@dataclass(frozen=True)
class Suggestion:
    """One answer, ready to be inserted: a topic's or a saved reply."""

    text: str
    topic: Topic | None = None
    order: str | None = None  # whose facts are in it
    saved: str | None = None  # the saved reply's name


@dataclass(frozen=True)
class Advice:
    """The best first. `by_meaning`: False if the encoder couldn't be asked."""

    suggestions: list[Suggestion]
    by_meaning: bool = True


def case_of(session: Session, it: Detail, agent_name: str, settings: Settings, today: date) -> Case | None:
    """What there is to suggest from; None if the customer has said nothing in words."""
    said = tuple(message.text for message in it.unanswered[-LAST:])
    if not said:
        return None
    language = it.row.language if it.row.language in ("en", "ko", "ja") else "en"
    order = _order_meant(it)
    facts = facts_of(order, today, language) if order else None
    contact = it.conversation.contact
    values = {
        "name": contact.name,
        "agent": agent_name,
        "shop": settings.shop_name,
        "order": order.number if order else it.conversation.order_number,
        "items": order.items if order else None,
        "status": order.status.replace("_", " ") if order else None,
        "carrier": order.carrier if order else None,
        "tracking": order.tracking if order else None,
        "eta": facts["eta"] if facts else None,
    }
    topic = it.hand_off.topic if it.hand_off else None
    return Case(said, topic, language, order, values, facts, list(saved.listed(session)))


def _order_meant(it: Detail) -> Order | None:
    """The order that was named, else the newest that is still under way, else the newest."""
    if it.conversation.order_number:
        number = normal_number(it.conversation.order_number)
        named = next((order for order in it.orders if order.number == number), None)
        if named:
            return named
    under_way = [order for order in it.orders if order.status not in DONE]
    return next(iter(under_way or it.orders), None)


async def advise(services: Services, case: Case) -> Advice:
    """Up to `MOST` suggestions for what the customer has said, in their language."""
    try:
        reading = await services.brain.read(case.text)
        likeness = await _likeness(services.brain, services.vectors, case)
    except BrainDown as error:
        log.warning("assistant.brain_down", error=str(error))
        return Advice(_ranked(Reading(), case, _by_words(case)), by_meaning=False)
    return Advice(_ranked(reading, case, likeness))


def _ranked(reading: Reading, case: Case, likeness: Sequence[float]) -> list[Suggestion]:
    read = [*reading.topics, *([(case.topic, SURE)] if case.topic else ())]
    topics = [(sure, one) for topic, sure in read if (one := _of_topic(topic, sure, case))]
    close = sorted(zip(likeness, case.replies, strict=True), key=lambda pair: -pair[0])
    found = [one for sure, one in topics if sure >= SURE]
    found += [_of_saved(reply, case) for like, reply in close if like >= CLOSE]
    found += [one for sure, one in topics if sure < SURE]
    return list({one.text: one for one in found}.values())[:MOST]


def _of_topic(topic: Topic, sure: float, case: Case) -> Suggestion | None:
    text = _words().answer(topic, case.language, case.facts) if sure >= LIKELY else None
    number = case.order.number if case.order and topic is Topic.ORDER_STATUS else None
    return Suggestion(text, topic=topic, order=number) if text else None


def _of_saved(reply: SavedReply, case: Case) -> Suggestion:
    text, _language = saved.text_in(reply, case.language)
    return Suggestion(saved.filled(text, case.values), saved=reply.name)


def stored_texts(case: Case) -> list[str]:
    """Every text that could have been inserted, as it would have been."""
    answers = (_words().answer(topic, case.language, case.facts) for topic in Topic)
    return [text for text in answers if text] + [_of_saved(reply, case).text for reply in case.replies]


async def _likeness(brain: Brain, vectors: OrderedDict[str, Vector], case: Case) -> list[float]:
    """How like in meaning each saved reply is: by what it is for, or by what it says, to one of the
    customer's messages. A line that says little takes nothing from another."""
    texts = [(reply.name, saved.text_in(reply, case.language)[0]) for reply in case.replies]
    wanted = {*case.said, *(text for pair in texts for text in pair)}
    known = {text: vectors[text] for text in wanted if text in vectors} if texts else {}
    missing = [text for text in wanted if text not in known] if texts else []
    if missing:  # what another request drops meanwhile is held in `known`
        known |= zip(missing, await brain.encode(missing), strict=True)
    for text, vector in known.items():
        vectors[text] = vector
        vectors.move_to_end(text)
    while len(vectors) > KEPT:
        vectors.popitem(last=False)
    return [
        max(math.sumprod(known[said], known[own]) for said in case.said for own in pair) for pair in texts
    ]


def _by_words(case: Case) -> list[float]:
    """What share of the shorter text's words both have."""
    asked = set(terms(case.text))
    found = []
    for reply in case.replies:
        own = set(terms(reply.name))
        found.append(len(asked & own) / min(len(asked), len(own)) if asked and own else 0.0)
    return found


@cache
def _words() -> Words:
    return Words(ROOT / "domain.yml")
