"""The port to Rasa: one turn in, one proposal out.

Rasa keeps no state for us. All that a decision needs travels with the turn, so any Rasa process can
take any turn, and a turn that is tried twice does no harm: the database decides.
"""

import asyncio
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import yaml
from aiohttp import ClientError, ClientTimeout

from bot.client import Client
from bot.components.plan import ANSWERS, OrderFacts, in_a_row, of_order
from bot.components.times import spoken
from bot.domain.errors import BrainDown, SettingError
from bot.domain.rule import Action, Context, Detail, Proposal
from bot.domain.texts import is_text
from bot.domain.words import Button, Reason, Topic

AUTOMATED, OUTAGE = "utter_automated", "utter_hand_off_outage"
THERE, BACK = "utter_people_there", "utter_people_back"
READ_LIMIT = 5_000  # characters of a turn that Rasa is given; the desk shows the rest
SAY_LIMIT = 8_000  # characters of a reply: four messages on Messenger; a longer one is no reply
AWAY_SECONDS = 2.0  # a Rasa that refused is asked again only after this, if another can be asked
FROZEN_SECONDS = 30.0  # and one that didn't answer in its time after this: it costs the turn that time
LEAST_SECONDS = 1.0  # of the patience, for each Rasa that is asked before the last
WORDS_LIMIT = 400  # characters of what led to a hand-off
TONES = ("calm", "upset")
READY = ClientTimeout(total=2)
AGENT_SECONDS = 4.0  # an agent doesn't wait longer for a suggestion
ENCODE_LIMIT = 1_000  # characters of a text whose meaning is compared
SPEAKS = (Action.ANSWER, Action.ASK, Action.HAND_OFF, Action.CLOSE, Action.WAIT)  # LOOK_UP stays in Rasa


Vector = list[float]


@dataclass(frozen=True)
class Reading:
    """The likeliest topics of a text, the likeliest first, each with a confidence from 0 to 1."""

    topics: tuple[tuple[Topic, float], ...] = ()
    language: str = "en"


class Brain(Protocol):
    """What reads a turn and words the reply."""

    def outage_reply(self, context: Context, language: str) -> str:
        """What to say when the brain can't be reached."""

    async def read_and_reply(self, key: str, text: str, context: Context) -> Proposal:
        """What to do with a turn. `key` names this try. Raises BrainDown."""

    async def read(self, text: str) -> Reading:
        """What a text is about, for an agent: nothing is decided. Raises BrainDown."""

    async def encode(self, texts: list[str]) -> list[Vector]:
        """What texts mean, as vectors of length 1: the closer, the more alike. Raises BrainDown."""

    async def is_ready(self) -> bool:
        """Whether it would answer now."""

    async def close(self) -> None:
        """Gives back what it holds."""


class Rasa:
    """Rasa behind the channel of `bot/components/channel.py`: one process, or several in turn.

    One that can't be reached is passed over for `AWAY_SECONDS`, and the turn goes to the next at once. One
    that is reached and silent has its share of the patience, then the turn goes to the next, and the turns
    after it pass that one over for `FROZEN_SECONDS`.
    """

    def __init__(self, urls: Sequence[str], patience: timedelta, domain_file: Path) -> None:
        self._patience = patience.total_seconds()
        self._hosts = [url.rstrip("/") for url in urls]
        self._away_until = dict.fromkeys(self._hosts, 0.0)
        self._turns = itertools.count()
        # No timeout of its own: `_ask` sees to it, and doesn't round up to whole seconds.
        self._client = Client(ClientTimeout(total=None))
        self.outage_reply = Words(domain_file).outage

    async def read_and_reply(self, key: str, text: str, context: Context) -> Proposal:
        """See `Brain`."""
        body = {"turn": key, "text": text[:READ_LIMIT], "metadata": context.to_json()}
        return await self._ask("webhook", body, proposal_from, self._patience)

    async def read(self, text: str) -> Reading:
        """See `Brain`."""
        return await self._ask("read", {"text": text[:READ_LIMIT]}, reading_from, AGENT_SECONDS)

    async def encode(self, texts: list[str]) -> list[Vector]:
        """See `Brain`."""
        body = {"texts": [text[:ENCODE_LIMIT] for text in texts]}
        vectors = await self._ask("encode", body, vectors_from, AGENT_SECONDS)
        if len(vectors) != len(texts):
            raise BrainDown("Rasa answered nonsense (another number of vectors).")
        return vectors

    async def _ask[T](self, what: str, body: dict[str, Any], read: Callable[[Any], T], seconds: float) -> T:
        try:
            async with asyncio.timeout(seconds):  # the whole answer, not each byte of it
                return read(await self._first_answer(f"/webhooks/turn/{what}", body, seconds))
        except (ClientError, TimeoutError) as error:
            raise BrainDown(f"Rasa can't be reached ({type(error).__name__}).") from error
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise BrainDown(f"Rasa answered nonsense ({type(error).__name__}).") from error

    async def _first_answer(self, path: str, body: dict[str, Any], seconds: float) -> Any:
        """The first answer. Each may take its share of the seconds, and the last what is left of them.

        Raises ClientError or TimeoutError if none of them gives one.
        """
        failed: Exception | None = None
        line = self._in_turn()
        share = max(seconds / len(line), LEAST_SECONDS)
        for host in line:
            try:
                async with asyncio.timeout(share if host != line[-1] else None):
                    return await self._answer(host + path, body)
            except TimeoutError as error:
                failed = error
                self._away(host, FROZEN_SECONDS)
            except ClientError as error:
                failed = error
                self._away(host, AWAY_SECONDS)
            except asyncio.CancelledError:  # too slow, or this process ends
                self._away(host, FROZEN_SECONDS)
                raise
        raise failed or BrainDown("RASA_URL names no Rasa.")

    async def _answer(self, url: str, body: dict[str, Any]) -> Any:
        async with self._client.session.post(url, json=body) as response:
            response.raise_for_status()
            return await response.json(content_type=None)

    def _in_turn(self) -> list[str]:
        """Every process, the next in line first; those that were away lately only if there is no other."""
        start = next(self._turns) % len(self._hosts)
        line = self._hosts[start:] + self._hosts[:start]
        now = asyncio.get_running_loop().time()
        return sorted(line, key=lambda host: self._away_until[host] > now)

    def _away(self, host: str, seconds: float) -> None:
        self._away_until[host] = asyncio.get_running_loop().time() + seconds

    async def is_ready(self) -> bool:
        """See `Brain`. One of several is enough."""
        return any(await asyncio.gather(*map(self._is_up, self._hosts)))

    async def _is_up(self, host: str) -> bool:
        try:
            async with self._client.session.get(f"{host}/webhooks/turn/ready", timeout=READY) as response:
                return response.status == 200
        except (ClientError, TimeoutError):
            return False

    async def close(self) -> None:
        """See `Brain`."""
        await self._client.close()


def proposal_from(data: dict[str, Any]) -> Proposal:
    """Reads the channel's answer.

    Raises ValueError, KeyError, TypeError or AttributeError for nonsense: what isn't a proposal, what
    doesn't say why, and what the database couldn't hold.
    """
    reason, topic, detail = data["reason"], data["topic"], data["detail"]
    proposal = Proposal(
        action=Action(data["action"]),
        text=_text(data["text"], SAY_LIMIT),
        topic=Topic(topic) if topic else None,
        reason=Reason(reason) if reason else None,
        detail=Detail(detail) if detail else None,
        confidence=float(data["confidence"]),
        language=_text(data["language"], 1_000)[:16],
        buttons=tuple((_text(b["title"], 80), Button(b["button"])) for b in data["buttons"]),
        order_number=data["order_number"] and _text(data["order_number"], 40),
        email=data["email"] and _text(data["email"], 320),
        settled=bool(data["settled"]),
        tone=data.get("tone") if data.get("tone") in TONES else None,
        words=_text(data["words"], 10_000)[:WORDS_LIMIT] if data.get("words") else None,
    )
    lacks_reason = proposal.action is Action.HAND_OFF and proposal.reason is None
    if proposal.action not in SPEAKS or lacks_reason:
        raise ValueError(f"{proposal.action.value} without a reason")
    return proposal


def reading_from(data: dict[str, Any]) -> Reading:
    """Reads what the channel says a text is about. Raises as `proposal_from` does."""
    known = {topic.value for topic in Topic}
    topics = tuple((Topic(t["name"]), float(t["confidence"])) for t in data["topics"] if t["name"] in known)
    return Reading(topics, _text(data["language"], 16))


def vectors_from(data: dict[str, Any]) -> list[Vector]:
    """Reads vectors of one length. Raises as `proposal_from` does."""
    vectors = [[float(number) for number in vector] for vector in data["vectors"]]
    if len({len(vector) for vector in vectors}) > 1:
        raise ValueError("vectors of several lengths")
    return vectors


def _text(value: object, limit: int) -> str:
    if not isinstance(value, str):
        raise TypeError("a text is missing")
    if len(value) > limit or not is_text(value):
        raise ValueError("a text that can't be stored")
    return value


class Words:
    """The shop's own words, read from Rasa's domain: for when Rasa can't say them, and for agents."""

    def __init__(self, domain_file: Path) -> None:
        """Raises SettingError if a response is missing that an outage needs."""
        try:
            self._variations = yaml.safe_load(domain_file.read_text(encoding="utf-8"))["responses"]
            for name in (AUTOMATED, OUTAGE, THERE, BACK):
                self.say(name, "en")
        except (OSError, yaml.YAMLError, KeyError, TypeError, StopIteration) as error:
            raise SettingError(
                f"{domain_file.name}: can't read the responses for an outage ({type(error).__name__})."
            ) from None

    def say(self, name: str, language: str) -> str:
        """A response in a language, else in the one without a condition."""
        variations = self._variations[name]
        fits = (v for v in variations if _language_of(v) == language)
        default = (v for v in variations if "condition" not in v)
        return str(next(chain(fits, default))["text"])

    def outage(self, context: Context, language: str) -> str:
        """The reply of a hand-off `outage`: what happens next, and when."""
        back = spoken(context.opens_at, language)
        names = [OUTAGE, BACK if back else THERE]
        text = " ".join(self.say(name, language) for name in names).replace("{opens_at}", back or "")
        return text if context.disclosed else f"{self.say(AUTOMATED, language)}\n\n{text}"

    def answer(self, topic: Topic, language: str, facts: Mapping[str, str | None] | None) -> str | None:
        """A topic's answer; that about an order needs its `facts`. None if there is none to give."""
        names = [ANSWERS[topic]]
        if topic is Topic.ORDER_STATUS:
            if facts is None:
                return None
            names = of_order(
                OrderFacts(
                    facts["progress"] or "other",
                    *(bool(facts[name]) for name in ("carrier", "tracking", "eta")),
                )
            )
        try:
            text = in_a_row([self.say(name, language).strip() for name in names])
        except (KeyError, StopIteration):  # the shop has taken the response out
            return None
        for name, value in (facts or {}).items():
            text = text.replace(f"{{{name}}}", value or "")
        return text


def _language_of(variation: dict[str, Any]) -> str | None:
    conditions = variation.get("condition") or ()
    return next((c["value"] for c in conditions if c.get("name") == "language"), None)
