"""How sure is sure enough: the confidence's weights, what each threshold costs, and how true it is.

    .venv-rasa/bin/python -m bench.threshold DATA        (part of `make bench-nlu`)

The weights in `config.yml` come from here: a logistic regression on `dev.jsonl` of whether the
likeliest intent was the right one, over the messages whose likeliest intent is a topic. They were
never fitted to `tests/nlu/blind.jsonl`, on which the table of calibration is made.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from rasa.shared.importers.utils import training_data_from_paths
from rasa.shared.nlu.constants import TEXT
from rasa.shared.nlu.training_data.message import Message
from rasa.shared.utils.io import read_yaml_file
from sklearn.linear_model import LogisticRegression

from bench.judging import (
    ALARM,
    ANSWERED,
    PEOPLE,
    PERSON,
    REASON,
    RIGHT,
    WRONG,
    Example,
    Rate,
    blind,
    count,
    development,
    is_right,
)  # fmt: skip
from bench.nlu import ROOT, decided
from bot.components.entities import DetailExtractor
from bot.components.featurizer import SentenceFeaturizer
from bot.components.reader import EVIDENCE, MessageReader, Read, evidence
from bot.domain.words import Topic

THRESHOLDS = (0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
TONES = (-0.2, -0.1, 0.0, 0.1, 0.2)
TOPICS = frozenset(topic.value for topic in Topic)


@dataclass(frozen=True)
class Judged:
    """A message with all that the model makes of it."""

    example: Example
    message: Message
    read: Read


def main() -> None:
    """Prints Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    data = parser.parse_args().data
    reader = _reader()
    dev = judged(reader, development(data / "dev.jsonl"))
    ours = judged(reader, blind(ROOT / "tests" / "nlu" / "blind.jsonl"))
    weights = fitted(reader, dev)
    print("Weights fitted on dev.jsonl:", {name: round(value, 2) for name, value in weights.items()})
    print("In config.yml:", reader.config["topic"]["confidence"])
    for name, messages in (("dev.jsonl", dev), ("our blind messages", ours)):
        print(f"\n{name}, by the topic's threshold:\n")
        print(curve(reader, messages, "topic", THRESHOLDS))
    print("\ndev.jsonl, by the tone's threshold:\n")
    print(curve(reader, dev, "tone", TONES))
    print("\nHow often a topic of that confidence is the right one (our blind messages):\n")
    print(calibration(reader, ours))


def _reader() -> MessageReader:
    reader = MessageReader(settings(), None, None)
    reader.learn(lessons())
    return reader


def settings() -> dict[str, Any]:
    """The reader's, from `config.yml`."""
    pipeline = read_yaml_file(ROOT / "config.yml")["pipeline"]
    return next(dict(part) for part in pipeline if part.pop("name").endswith(MessageReader.__name__))


def lessons() -> list[Message]:
    """What `data/` teaches, featurized."""
    training = training_data_from_paths([str(path) for path in (ROOT / "data").glob("nlu*.yml")], "en")
    examples: list[Message] = featurizer().process_training_data(training).intent_examples
    return examples


@cache
def featurizer() -> SentenceFeaturizer:
    """One for all: the encoder is loaded once."""
    return SentenceFeaturizer(SentenceFeaturizer.get_default_config(), "featurizer")


def judged(reader: MessageReader, examples: list[Example]) -> list[Judged]:
    """Every message read once; the thresholds come afterwards."""
    messages = [Message({TEXT: example.text}) for example in examples]
    DetailExtractor().process(featurizer().process(messages))
    return [Judged(e, m, reader.read(m)) for e, m in zip(examples, messages, strict=True)]


def fitted(reader: MessageReader, messages: list[Judged]) -> dict[str, float]:
    """The weights of the confidence."""
    rows, right = [], []
    for one in messages:
        guess = reader.guesses(one.read)[0].intent
        if guess in TOPICS and one.example.label not in ("empathy", "no_empathy", "delay"):
            rows.append([sign[0] for sign in evidence(one.read)])
            right.append(is_right(one.example.label, guess))
    model = LogisticRegression(C=10.0).fit(rows, right)
    return {
        "bias": float(model.intercept_[0]),
        **dict(zip(EVIDENCE, map(float, model.coef_[0]), strict=True)),
    }


def curve(reader: MessageReader, messages: list[Judged], head: str, thresholds: tuple[float, ...]) -> str:
    """A row a threshold; a column a measure."""
    measures = (RIGHT, WRONG, PERSON, REASON, ALARM, ANSWERED)
    lines = ["| threshold | " + " | ".join(measures) + " |", "|---|" + "---|" * len(measures)]
    for threshold in thresholds:
        changed = {name: dict(values) for name, values in reader.config.items()}
        changed[head]["threshold"] = threshold
        rates: dict[str, Rate] = defaultdict(Rate)
        for one in messages:
            decision = _decided(reader, one, changed)
            count(one.example, decision, lambda measure, hit, r=rates: r[measure].add(hit))
        cells = " | ".join(f"{rates[measure].share:.1%}" for measure in measures)
        lines.append(f"| {threshold} | {cells} |")
    return "\n".join(lines)


def _decided(reader: MessageReader, one: Judged, settings: dict[str, Any]) -> dict[str, Any]:
    message = Message(dict(one.message.data))
    reader.settle(message, one.read, settings)
    return decided({**message.data, "text": one.example.text})


def calibration(reader: MessageReader, messages: list[Judged]) -> str:
    """A row a tenth of confidence."""
    bins: dict[int, Rate] = defaultdict(Rate)
    sums: dict[int, float] = defaultdict(float)
    for one in messages:
        guess = reader.guesses(one.read)[0]
        if guess.intent in TOPICS and one.example.label not in ("no_empathy", *PEOPLE):
            bin_ = min(9, int(guess.confidence * 10))
            bins[bin_].add(is_right(one.example.label, guess.intent))
            sums[bin_] += guess.confidence
    lines = ["| confidence, mean | right |", "|---|---|"]
    lines += [f"| {sums[b] / bins[b].of:.2f} | {bins[b]} |" for b in sorted(bins)]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
