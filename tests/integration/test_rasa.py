"""What runs inside Rasa, in Rasa's own environment and with its own tools."""

import asyncio
import json
import os
import subprocess
from pathlib import Path

import pytest

from bot import training
from bot.settings import ROOT

PYTHON = ROOT / ".venv-rasa" / "bin" / "python"


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PYTHON, *arguments],
        cwd=ROOT,
        env=os.environ | training.QUIET,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="session")
def model() -> Path:
    return asyncio.run(training.train())


def test_what_runs_inside_rasa_keeps_its_promises():
    done = run("-m", "unittest", "discover", "-s", "tests/rasa", "-t", ".")
    assert done.returncode == 0, done.stderr
    assert "Ran 0 tests" not in done.stderr


def test_whole_conversations_go_as_the_test_stories_say(model: Path, tmp_path: Path):
    done = run(
        "-m", "rasa", "test", "core", "--model", model, "--stories", "tests/test_stories.yml",
        "--out", tmp_path, "--fail-on-prediction-errors",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def test_a_turn_is_read_and_answered_as_rasas_own_loop_would(model: Path):
    done = run("-m", "tests.asked_once", model)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["differ"] == []
    assert found["spoken"] > 50
    assert found["turns"] - found["spoken"] > 20  # some are for a person, or need no answer


def test_a_turn_costs_rasa_no_more_than_it_did(model: Path):
    """Counts, not times. A regression shows as one more call, or as a fifth more functions called."""
    done = run("-m", "tests.turn_cost", model)
    assert done.returncode == 0, done.stderr[-3000:]
    costs = json.loads(done.stdout.splitlines()[-1])
    question, order = costs["question"], costs["order"]
    assert "9:00" in question["said"]
    assert "10023" in order["said"]
    for cost in (question, order):
        assert cost["encoder"] == 1  # all parts of a message at once
        assert cost["graph"] == 2  # reading, deciding
    assert question.get("action server", 0) == 0
    assert order["action server"] == 1
    assert question["functions"] < 1_800  # 1,478 when this was written
    assert order["functions"] < 2_650  # 2,194


def test_a_change_of_any_input_trains_anew_and_no_change_does_not(tmp_path: Path):
    for pattern in training.INPUTS:
        for path in ROOT.glob(pattern):
            copy = tmp_path / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    before = training.fingerprint(tmp_path)
    assert before == training.fingerprint(ROOT)
    seen = {before}
    for name in (
        "domain.yml",
        "config.yml",
        "data/nlu.yml",
        "bot/components/policy.py",
        "bot/domain/rule.py",
    ):
        (tmp_path / name).write_text((tmp_path / name).read_text() + "\n# changed\n")
        seen.add(training.fingerprint(tmp_path))
    assert len(seen) == 6
    (tmp_path / "README.md").touch()
    assert training.fingerprint(tmp_path) in seen
