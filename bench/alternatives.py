"""Other ways to tell the topic and the tone, learned from the same examples (in Rasa's environment).

.venv-rasa/bin/python -W ignore -m bench.alternatives DATA
"""

from __future__ import annotations

import argparse
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import process_time
from timeit import timeit
from typing import Any
from unittest.mock import patch

import numpy as np
from rasa.shared.nlu.constants import INTENT, TEXT
from rasa.shared.nlu.training_data.message import Message
from rasa.shared.nlu.training_data.training_data import TrainingData
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from bench.judging import all_blind, development, is_right
from bench.nlu import BOTS, OUT_OF_SCOPE, ROOT, rows_of
from bench.threshold import TOPICS, featurizer, lessons, settings
from bot.components.featurizer import vectors_of
from bot.components.heads import Groups, Lines, Neighbours, closeness
from bot.components.reader import tone_of
from bot.components.spelling import Spelling

PLACES, TONED = ("dev en", "blind en", "blind ko", "blind ja"), ("airline_tweets", "kote")
KNOWN, TONES = (f"known: {place}" for place in PLACES), (f"tone: {source}" for source in TONED)
COLUMNS = (*PLACES, *KNOWN, *TONES, *BOTS, "fit, s", "ms", "× encoder")
Head = Callable[[list[Message]], np.ndarray]


def logistic(vectors: np.ndarray, spelled: csr_matrix, labels: Sequence[str], strength: float) -> Lines:
    """As `Lines.fit`; the strength that suits the machine would be too little."""
    model = LogisticRegression(C=10.0, solver="liblinear", class_weight="balanced", tol=0.01)
    with patch("bot.components.heads.LinearSVC", lambda **_: model):
        return Lines.fit(vectors, spelled, labels, strength)


@dataclass(frozen=True)
class Way:
    """What is looked at, and how."""

    name: str
    meaning: bool = True
    spelling: bool = True
    lines: Callable[..., Lines] | None = Lines.fit
    nearest: bool = True
    typos: bool = False

    def head(self, seen: list[Message], labels: list[str], settings: dict[str, Any]) -> Head:
        """One row a message, one column a label in alphabetical order."""
        groups = Groups.of(np.array(labels))
        spelling = Spelling.of([m.get(TEXT) for m in seen]) if self.spelling else None
        near = Neighbours.of(vectors_of(seen)) if self.nearest else None

        def features(some: list[Message]) -> tuple[np.ndarray, csr_matrix]:
            meaning = vectors_of(some) if self.meaning else np.empty((len(some), 0))
            texts = [m.get(TEXT) for m in some]
            return meaning, spelling.features(texts) if spelling else csr_matrix((len(some), 0))

        lines = self.lines(*features(seen), labels, settings["strength"]) if self.lines else None

        def scores(some: list[Message]) -> np.ndarray:
            total = lines.margins(*features(some)) if lines else 0.0
            if near:
                close = closeness(near.cosines(vectors_of(some)), groups, settings["nearest"])
                total = total + settings["closeness"] * close
            return total

        return scores


OURS = Way("ours")
WAYS = (
    OURS,
    replace(OURS, name="without nearest examples", nearest=False),
    replace(OURS, name="nearest examples alone", spelling=False, lines=None),
    replace(OURS, name="sentence vector alone, machine", spelling=False, nearest=False),
    replace(OURS, name="spelling alone, machine", meaning=False, nearest=False),
    replace(OURS, name="logistic regression (liblinear)", lines=logistic),
    replace(OURS, name="ours, with each example once more with a typo", typos=True),
)


class Material:
    """All messages, encoded once."""

    def __init__(self, data: Path) -> None:
        self.featurizer = featurizer()
        self.judged = development(data / "dev.jsonl") + all_blind(ROOT / "tests" / "nlu")
        self.messages = self.featurizer.process([Message({TEXT: e.text}) for e in self.judged])
        self.lessons, self.tests = {"": lessons()}, {}
        for bot in BOTS:
            train, test = (rows_of(data / "hint3" / f"{bot}_{part}.csv") for part in ("train", "test"))
            learning = TrainingData([Message.build(*pair) for pair in train])
            self.lessons[bot] = self.featurizer.process_training_data(learning).intent_examples
            asked = [Message.build(*pair) for pair in test if pair[1] != OUT_OF_SCOPE]
            self.tests[bot] = self.featurizer.process(asked)

    def lesson(self, bot: str, typos: bool) -> tuple[list[Message], list[str]]:
        """What a bot learns from, and the intents."""
        seen, rng = self.lessons[bot], random.Random(7)
        if typos:
            more = [Message({**m.data, TEXT: typo(m.get(TEXT), rng)}) for m in seen]
            seen = seen + self.featurizer.process(more)
        return seen, [m.get(INTENT) for m in seen]


def typo(text: str, rng: random.Random) -> str:
    """One letter dropped, or changed places with the next."""
    at = rng.randrange(max(1, len(text) - 1))
    pair = text[at : at + 2]
    return text[:at] + rng.choice((pair[1:], pair[::-1])) + text[at + 2 :] if len(text) > 3 else text


def row(way: Way, material: Material, settings: dict[str, Any]) -> list[str]:
    """The cells. Times are the processor's, on one thread: what else the machine does hardly counts."""
    seen, intents = material.lesson("", way.typos)
    start = process_time()
    topic = way.head(seen, intents, settings["topic"])
    seconds = process_time() - start
    upset = way.head(seen, [tone_of(m) for m in seen], settings["tone"])(material.messages)[:, 1]
    names, scores = np.unique(intents), topic(material.messages)
    best = scores[:, np.isin(names, list(TOPICS))].max(axis=1)
    guesses = names[scores.argmax(axis=1)]
    right, above, below = defaultdict(list), defaultdict(list), defaultdict(list)
    for i, e in enumerate(material.judged):
        place = f"{'blind' if e.source.startswith('own') else 'dev'} {e.lang}"
        if e.label in TOPICS and not e.upset:
            right[place].append(is_right(e.label, guesses[i]))
            above[place].append(best[i])
        elif e.label == "unsure":
            below[place].append(best[i])
        elif e.source in TONED:
            (above if e.label == "empathy" else below)[e.source].append(upset[i])
    shares = [np.mean(right[place]) for place in PLACES]
    for key in (*PLACES, *TONED):
        truth = [True] * len(above[key]) + [False] * len(below[key])
        shares.append(roc_auc_score(truth, above[key] + below[key]))
    for bot, test in material.tests.items():
        seen, intents = material.lesson(bot, way.typos)
        found = way.head(seen, intents, settings["topic"])(test).argmax(axis=1)
        shares.append(np.mean(np.unique(intents)[found] == [m.get(INTENT) for m in test]))
    fresh = [[Message({TEXT: m.get(TEXT)})] for m in material.messages[:: len(material.messages) // 200]]
    read = [[m] for m in material.messages[:: len(material.messages) // 200]]
    encoding, judging = (
        1000
        * float(np.median([timeit(partial(once, some), timer=process_time, number=1) for some in messages]))
        for once, messages in ((material.featurizer.process, fresh), (topic, read))
    )
    ms = judging + (encoding if way.meaning else 0.0)
    return [*(f"{share:.3f}" for share in shares), f"{seconds:.1f}", f"{ms:.1f}", f"{ms / encoding:.2f}"]


def main() -> None:
    """Prints Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    options = parser.parse_args()
    print(f"| | {' | '.join(COLUMNS)} |", "|---|" + "---|" * len(COLUMNS), sep="\n")
    threadpool_limits(1)
    material = Material(options.data)
    for way in WAYS:
        print(f"| {way.name} | {' | '.join(row(way, material, settings()))} |", flush=True)


if __name__ == "__main__":
    main()
