"""How a decision is counted, for `make bench-nlu` and for the guard in `make test`. Plain Python 3.10."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

# Where a neighbouring topic's answer also answers, or a person is as right as an answer.
NEIGHBOURS = (
    {"shipping_options", "shipping_cost", "delivery_time"},
    {"return_policy", "refund_policy"},
)
PERSON_IS_RIGHT_TOO = {"cancel_order", "change_order", "place_order", "product_availability"}
PEOPLE = {
    "empathy": "empathy",
    "account": "account",
    "human": "asked",
    # the same, by their intents
    "ask_person": "asked",
    "not_solved": "empathy",
    "no_details": "account",
}
NOT_FOR_A_SHOP = {"unsure", "out_of_scope"}
SMALL_TALK = {"greet", "thanks", "ack", "settled"}

PERSON, REASON = "needs a person: gets one", "… with the right reason"
RIGHT, WRONG = "topic: answered rightly", "topic: wrong answer"
ALARM, ANSWERED = "calm: taken for upset", "not for a shop: answered"
LATE, TALK = "late parcel: answer or person", "small talk: no person called"


@dataclass(frozen=True)
class Example:
    """A message, and what it is about."""

    text: str
    lang: str
    label: str  # a topic, a remark, or one of the words of `dev.jsonl`
    source: str
    upset: bool = False


@dataclass
class Rate:
    """So many of so many."""

    hits: int = 0
    of: int = 0

    def add(self, hit: bool) -> None:
        """Counts one more."""
        self.hits += hit
        self.of += 1

    @property
    def share(self) -> float:
        """0 to 1; 0 of nothing."""
        return self.hits / self.of if self.of else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval (E. B. Wilson, JASA 1927)."""
        if not self.of:
            return 0.0, 1.0
        p, n, z = self.share, self.of, 1.96
        middle = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
        return max(0.0, middle - half), min(1.0, middle + half)

    def __str__(self) -> str:
        """Per cent, the interval, and n."""
        if not self.of:
            return "–"
        low, high = self.interval
        return f"{self.share:.1%} [{low:.0%}–{high:.0%}] n={self.of}"


def development(path: Path) -> list[Example]:
    """The rows of `dev.jsonl`."""
    return [
        Example(row["text"], row["lang"], row["label"], row["source"], row["label"] == "empathy")
        for row in _rows(path)
    ]


def blind(path: Path) -> list[Example]:
    """Our own messages in `tests/nlu/blind*.jsonl`, which training never sees."""
    return [
        Example(row["text"], row["lang"], row["label"], f"own, {path.stem}", row["tone"] == "upset")
        for row in _rows(path)
    ]


def all_blind(folder: Path) -> list[Example]:
    """Those of every such file."""
    return [example for path in sorted(folder.glob("blind*.jsonl")) for example in blind(path)]


def held_out(path: Path, lang: str) -> list[Example]:
    """A file of `tests/nlu` in Rasa's own format, its examples one a line as text."""
    blocks = yaml.safe_load(path.read_text(encoding="utf-8"))["nlu"]
    return [
        Example(line[2:].strip(), lang, block["intent"], path.stem, _tone(block) == "upset")
        for block in blocks
        for line in block["examples"].splitlines()
        if line.startswith("- ")
    ]


def _tone(block: dict[str, Any]) -> str | None:
    return (block.get("metadata") or {}).get("tone")


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def count(example: Example, decision: dict[str, Any], add: Callable[[str, bool], None]) -> bool:
    """Counts a decision (`action`, `topic`, `reason`) under what its label asks for; True if it's right."""
    label, reason = example.label, decision["reason"]
    person = decision["action"] == "hand_off"
    topic = decision["topic"] if decision["action"] in ("answer", "ask", "look_up") else None
    if example.upset or label in PEOPLE:
        add(PERSON, person)
        wanted = {PEOPLE.get(label, "empathy")} | ({"empathy"} if example.upset else set())
        add(REASON, reason in wanted)
        return person
    if label == "no_empathy":
        add(ALARM, reason == "empathy")
        return bool(reason != "empathy")
    if label in NOT_FOR_A_SHOP:
        add(ANSWERED, topic is not None)
        return topic is None
    if label == "delay":
        add(LATE, person or topic == "order_status")
        return bool(person or topic == "order_status")
    if label in SMALL_TALK:
        add(TALK, not person)
        return not person
    right = is_right(label, topic) or (person and label in PERSON_IS_RIGHT_TOO)
    add(RIGHT, right)
    add(WRONG, topic is not None and not right)
    return right


def is_right(label: str, topic: str | None) -> bool:
    """Whether a topic is the label's, or a neighbour whose answer answers it too."""
    return topic is not None and (label == topic or any({label, topic} <= group for group in NEIGHBOURS))
