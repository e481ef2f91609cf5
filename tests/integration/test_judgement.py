"""The guard: messages of our own that training never sees, judged by the trained model.

The floors lie well below what `docs/judgement.md` reports, so that a change of a few messages passes
and a real loss doesn't. `make bench-nlu` tells where a rate stands.
"""

import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from bench.judging import (
    ALARM,
    ANSWERED,
    PERSON,
    REASON,
    RIGHT,
    TALK,
    WRONG,
    Rate,
    blind,
    count,
    held_out,
)  # fmt: skip
from bot.settings import ROOT

NLU = ROOT / "tests" / "nlu"
EXAMPLES = [
    *blind(NLU / "blind.jsonl"),
    *blind(NLU / "blind_2.jsonl"),
    *blind(NLU / "blind_3.jsonl"),
    *held_out(NLU / "held_out.yml", "en"),
    *held_out(NLU / "held_out_ko.yml", "ko"),
    *held_out(NLU / "held_out_ja.yml", "ja"),
]
Rates = dict[str, dict[str, Rate]]


@pytest.fixture(scope="module")
def rates(tmp_path_factory: pytest.TempPathFactory) -> Rates:
    """Of each language, every message decided by the command that a shop has for it."""
    folder = tmp_path_factory.mktemp("judgement")
    asked, decided = folder / "in.jsonl", folder / "out.jsonl"
    lines = (json.dumps({"id": n, "text": example.text}) for n, example in enumerate(EXAMPLES))
    asked.write_text("\n".join(lines), encoding="utf-8")
    subprocess.run(
        [sys.executable, "-m", "bot", "decide", "--in", asked, "--out", decided],
        cwd=ROOT, env=os.environ | {"DATA_DIR": str(folder)}, check=True, timeout=400,
    )  # fmt: skip
    decisions = map(json.loads, decided.read_text(encoding="utf-8").splitlines())
    found: Rates = defaultdict(lambda: defaultdict(Rate))
    for example, decision in zip(EXAMPLES, decisions, strict=True):
        of_language = found[example.lang]
        count(example, decision, lambda measure, hit, rates=of_language: rates[measure].add(hit))
    return found


@pytest.mark.parametrize("lang", ["en", "ko", "ja"])
@pytest.mark.parametrize(
    ("measure", "least"),
    [(RIGHT, 0.80), (PERSON, 0.96), (REASON, 0.80), (TALK, 0.6)],
)
def test_what_must_be_seen_is_seen(rates: Rates, lang: str, measure: str, least: float):
    assert rates[lang][measure].of >= 20
    assert rates[lang][measure].share >= least, rates[lang][measure]


@pytest.mark.parametrize("lang", ["en", "ko", "ja"])
@pytest.mark.parametrize(("measure", "most"), [(WRONG, 0.06), (ANSWERED, 0.20), (ALARM, 0.50)])
def test_what_must_not_happen_hardly_does(rates: Rates, lang: str, measure: str, most: float):
    assert rates[lang][measure].of >= 12
    assert rates[lang][measure].share <= most, rates[lang][measure]


@pytest.mark.parametrize("path", sorted((ROOT / "data").glob("nlu*.yml")), ids=lambda path: path.stem)
def test_training_sees_none_of_these_messages(path: Path):
    learned = {example.text.casefold() for example in held_out(path, "")}
    assert len(learned) > 2000
    assert not [example.text for example in EXAMPLES if example.text.casefold() in learned]
