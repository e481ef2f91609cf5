"""How well messages are judged: ours, stock Rasa and the published systems, side by side.

    make bench-nlu DATA=path        (runs in Rasa's environment)

`DATA` holds `dev.jsonl` and `hint3/` and stays outside the repo; our own blind messages are in
`tests/nlu`. Each pipeline is trained and measured in a process of its own. Rates carry their Wilson
95 % interval. The stock pipeline is made for one language and cuts words at spaces: it learns our English
examples and is asked in English. Its 100 epochs take an hour and a half of processor time (`--epochs` for
fewer; the table says how many).
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import logging
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.judging import Example, Rate, all_blind, count, development

ROOT = Path(__file__).resolve().parent.parent
BOTS = ("sofmattress", "powerplay11")
OUT_OF_SCOPE = "NO_NODES_DETECTED"
# In-scope accuracy of the systems in the HINT3 paper (Arora et al., Insights at EMNLP 2020), computed
# from their published predictions against the v2 labels.
PUBLISHED = {
    "Dialogflow": (0.767, 0.631),
    "LUIS": (0.668, 0.482),
    "Haptik": (0.751, 0.660),
    "BERT": (0.755, 0.563),
    "Rasa (2020)": (0.735, 0.472),
}


@dataclass
class Result:
    """What one pipeline did."""

    epochs: int = 0
    training_seconds: float = 0.0
    ms_per_message: float = 0.0
    memory_mb: float = 0.0
    hint3: dict[str, Rate] = field(default_factory=dict)
    rates: dict[str, dict[str, Rate]] = field(default_factory=dict)  # "en/source" → measure → rate
    reasons: dict[str, int] = field(default_factory=dict)
    confusions: dict[str, int] = field(default_factory=dict)
    misses: list[list[str]] = field(default_factory=list)


def main() -> None:
    """Measures both pipelines and prints Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", choices=("ours", "stock"))
    parser.add_argument("--misses", action="store_true", help="also list what was misjudged (ours)")
    parser.add_argument("--epochs", type=int, default=100, help="of the stock classifier's training")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        found = asyncio.run(measured(options.child, options.data, options.epochs))
        json.dump(asdict(found), sys.stdout)
        return
    names = [name for name in ("ours", "stock") if options.only in (None, name)]
    results = {name: _in_process(name, options.data, options.epochs) for name in names}
    print(report(results))
    if options.misses and "ours" in results:
        for row in sorted(results["ours"].misses):
            print("\t".join(row))


def _in_process(name: str, data: Path, epochs: int) -> Result:
    command = [sys.executable, "-m", "bench.nlu", str(data), "--child", name, "--epochs", str(epochs)]
    output = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout
    raw = json.loads(output.splitlines()[-1])
    raw["hint3"] = {bot: Rate(**rate) for bot, rate in raw["hint3"].items()}
    raw["rates"] = {key: {m: Rate(**r) for m, r in rates.items()} for key, rates in raw["rates"].items()}
    return Result(**raw)


async def measured(name: str, data: Path, epochs: int) -> Result:
    """Trains one pipeline on our examples and on each HINT3 bot's, and measures it."""
    result = Result(epochs=epochs if name == "stock" else 0)
    with tempfile.TemporaryDirectory() as folder:
        config = pipeline(name, Path(folder), epochs)
        start = time.perf_counter()
        agent = train(config, ROOT / "data" / ("nlu.yml" if name == "stock" else ""), Path(folder) / "ours")
        result.training_seconds = time.perf_counter() - start
        examples = development(data / "dev.jsonl") + all_blind(ROOT / "tests" / "nlu")
        asked = [example for example in examples if name == "ours" or example.lang == "en"]
        await judge(agent, asked, result)
        await judge_mixed(agent, result, {example.lang for example in asked})
        result.memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        for bot in BOTS:
            result.hint3[bot] = await judge_hint3(config, data / "hint3", bot, Path(folder))
    return result


def pipeline(name: str, folder: Path, epochs: int) -> Path:
    """The config file of a pipeline: ours, or the one that `rasa init` writes."""
    import rasa.cli
    from rasa.shared.utils.io import read_yaml_file, write_yaml

    ours = ROOT / "config.yml"
    source = ours if name == "ours" else folder / "config.yml"
    if name == "stock":  # a copy: Rasa writes into the file what it fills in
        shutil.copy(Path(rasa.cli.__file__).parent / "initial_project" / "config.yml", source)
    config = read_yaml_file(source)
    if name == "stock":  # what `rasa init` leaves commented out is what `rasa train` then fills in
        from rasa.engine.recipes.default_recipe import DefaultV1Recipe

        config, *_ = DefaultV1Recipe.auto_configure(str(source), config)
        for part in config["pipeline"]:
            if "epochs" in part:
                part["epochs"] = epochs
    config.pop("policies", None)
    path = folder / f"{name}.yml"
    write_yaml({"recipe": "default.v1", "assistant_id": "bench", "language": "en", **config}, path)
    return path


def train(config: Path, examples: Path, out: Path) -> Any:
    """A loaded Rasa agent that reads messages."""
    from rasa.core.agent import Agent
    from rasa.model_training import train_nlu

    model = train_nlu(str(config), str(examples), str(out), fixed_model_name="model")
    return Agent.load(model)


async def judge(agent: Any, examples: list[Example], result: Result) -> None:
    """Decides every message as a first private one."""
    from rasa.utils.log_utils import configure_structlog

    configure_structlog(logging.ERROR)  # each message would be written to the log
    await agent.parse_message("hello")  # loads what is loaded late
    start = time.perf_counter()
    read = [await agent.parse_message(example.text) for example in examples]
    result.ms_per_message = 1000 * (time.perf_counter() - start) / len(examples)
    for example, parsed in zip(examples, read, strict=True):
        decision = decided(parsed)
        key = f"{example.lang}/{example.source}"
        rates = result.rates.setdefault(key, {})
        right = count(example, decision, lambda measure, hit, r=rates: r.setdefault(measure, Rate()).add(hit))
        if example.source.startswith("own"):
            rates.setdefault("all: right", Rate()).add(right)
        if decision["action"] == "hand_off":
            result.reasons[decision["reason"]] = result.reasons.get(decision["reason"], 0) + 1
        if not right:
            said = decision["topic"] if decision["action"] != "hand_off" else decision["reason"]
            pair = f"{example.label} → {said or decision['action']}"
            result.confusions[pair] = result.confusions.get(pair, 0) + 1
            what = "{action} {topic} {reason} {confidence:.2f}".format(**decision)
            result.misses.append([key, example.label, what, example.text.replace("\n", " ")[:140]])


async def judge_mixed(agent: Any, result: Result, languages: set[str]) -> None:
    """Messages of several parts: both questions answered, a question within anger noted, and so on."""
    path = ROOT / "tests" / "nlu" / "mixed.jsonl"
    for row in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
        if row["lang"] not in languages:
            continue
        decision = decided(await agent.parse_message(row["text"]))
        topics = {decision["topic"], *decision["also"]} - {None}
        if "reason" in row:
            right = decision["reason"] == row["reason"] and topics >= {row.get("topic")} - {None}
        else:
            right = decision["action"] != "hand_off" and topics == set(row["topics"])
        wrong = decision["action"] in ("answer", "ask") and not topics <= set(row.get("topics", ()))
        rates = result.rates.setdefault(f"{row['lang']}/own, mixed", {})
        rates.setdefault("as wanted", Rate()).add(right)
        rates.setdefault("a wrong answer in it", Rate()).add(wrong)
        if not right:
            result.misses.append(
                ["mixed", str(row.get("topics") or row["reason"]), str(decision), row["text"]]
            )


def decided(parsed: dict[str, Any]) -> dict[str, Any]:
    """What the rule makes of a reading; a look-up counts as the answer that follows it."""
    from rasa.shared.core.events import UserUttered

    from bot.components.turns import Turn
    from bot.domain.rule import Context, decide

    message = UserUttered(parsed["text"], parsed["intent"], parsed["entities"], parse_data=parsed)
    reading = Turn(message).reading
    decision = decide(reading, Context(quiet=True))
    action = "answer" if decision.action.value == "look_up" else decision.action.value
    return {
        "action": action,
        "topic": decision.topic.value if decision.topic else None,
        "also": [topic.value for topic in decision.also],
        "reason": decision.reason.value if decision.reason else None,
        "confidence": reading.confidence,
    }


async def judge_hint3(config: Path, folder: Path, bot: str, scratch: Path) -> Rate:
    """In-scope accuracy of the most likely intent, whatever its confidence.

    For ours the intent of the whole message counts; what its parts say is for the rule.
    """
    from rasa.shared.utils.io import write_yaml

    by_label: dict[str, list[str]] = {}
    for text, label in rows_of(folder / f"{bot}_train.csv"):
        by_label.setdefault(label, []).append(text)
    examples = [
        {"intent": label, "examples": "".join(f"- {t}\n" for t in texts)} for label, texts in by_label.items()
    ]
    path = scratch / f"{bot}.yml"
    write_yaml({"version": "3.1", "nlu": examples}, path)
    agent = train(config, path, scratch / bot)
    rate = Rate()
    for text, label in rows_of(folder / f"{bot}_test.csv"):
        if label != OUT_OF_SCOPE:
            ranking = (await agent.parse_message(text))["intent_ranking"]
            best = next((r["name"] for r in ranking if r["name"] in by_label), None)
            rate.add(best == label)
    return rate


def rows_of(path: Path) -> Iterable[tuple[str, str]]:
    """Sentence and label, without line breaks, which Rasa's examples can't hold."""
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield " ".join(row["sentence"].split()), row["label"]


def report(results: dict[str, Result]) -> str:
    """Everything as Markdown tables."""
    names = list(results)
    lines = ["| | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    lines += [
        f"| HINT3 {bot} | " + " | ".join(str(results[n].hint3[bot]) for n in names) + " |" for bot in BOTS
    ]
    for label, value in (
        ("ms a message", "ms_per_message"),
        ("epochs", "epochs"),
        ("training, s", "training_seconds"),
        ("memory, MB", "memory_mb"),
    ):
        lines.append(f"| {label} | " + " | ".join(f"{getattr(results[n], value):.1f}" for n in names) + " |")
    for key in sorted({key for r in results.values() for key in r.rates}):
        by_name = {n: results[n].rates.get(key, {}) for n in names}
        for measure in dict.fromkeys(m for rates in by_name.values() for m in rates):
            cells = " | ".join(str(rates.get(measure, Rate())) for rates in by_name.values())
            lines.append(f"| {key}: {measure} | {cells} |")
    reasons = "; ".join(f"{n}: {dict(sorted(results[n].reasons.items()))}" for n in names)
    if "ours" in results:
        often = sorted(results["ours"].confusions.items(), key=lambda pair: -pair[1])[:15]
        lines += ["", "Most frequent confusions (ours): " + "; ".join(f"{pair} {n}" for pair, n in often)]
    lines += [
        "",
        f"Hand-overs by reason: {reasons}",
        "",
        "| published | " + " | ".join(BOTS) + " |",
        "|---|---|---|",
    ]
    lines += [f"| {system} | {one:.3f} | {two:.3f} |" for system, (one, two) in PUBLISHED.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
