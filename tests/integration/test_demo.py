"""The demo shop keeps its word: what it suggests to write is answered as it says, by the trained bot."""

import json
import os
import re
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest

from bot import demo
from bot.settings import ROOT, load
from bot.store.engine import Store

PAGE = (ROOT / "bot" / "widget" / "demo.html").read_text(encoding="utf-8")
SUGGESTED = [unescape(text) for text in re.findall(r'data-text="([^"]*)"', PAGE)]
# action, topic (of a hand-off its reason), language, and what the reply says
PROMISED = {
    "Where is my order?": ("ask", "order_status", "en", "order number"),
    "Where is my order 10023? I ordered with mina@example.com": (
        "answer",
        "order_status",
        "en",
        "on its way",
    ),
    "Can I send back a cushion?": ("answer", "return_policy", "en", "30 days"),
    "The chair arrived broken and I am really upset.": ("hand_off", "empathy", "en", "sorry"),
    "주문한 상품은 언제 도착하나요?": ("ask", "order_status", "ko", "주문번호"),
    "注文した商品はいつ届きますか？": ("ask", "order_status", "ja", "注文番号"),
    "How much is shipping?": ("answer", "shipping_cost", "en", "€4.90"),
    "How do I return something?": ("answer", "return_policy", "en", "30 days"),
    "I would like to talk to a person.": ("hand_off", "asked", "en", "colleague"),
}


@pytest.fixture(scope="module")
def decided(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """Every suggestion as a first message, with the orders that the demo knows."""
    folder = tmp_path_factory.mktemp("demo")
    store = Store(load({"DATA_DIR": str(folder)}).database_url)
    store.migrate()
    with store.unit_of_work() as session:
        demo.seed(session)
    store.close()
    asked, out = Path(folder / "in.jsonl"), Path(folder / "out.jsonl")
    asked.write_text("".join(json.dumps({"id": text, "text": text}) + "\n" for text in SUGGESTED))
    subprocess.run(
        [sys.executable, "-m", "bot", "decide", "--in", asked, "--out", out],
        cwd=ROOT, env=os.environ | {"DATA_DIR": str(folder)}, check=True, timeout=400,
    )  # fmt: skip
    lines = map(json.loads, out.read_text(encoding="utf-8").splitlines())
    return {line["id"]: line for line in lines}


def test_every_suggestion_has_its_promise_and_each_language_one():
    assert set(SUGGESTED) == set(PROMISED)
    assert {language for _, _, language, _ in PROMISED.values()} == {"en", "ko", "ja"}


@pytest.mark.parametrize("text", PROMISED)
def test_what_the_demo_suggests_is_answered_as_it_says(decided: dict[str, dict[str, str]], text: str):
    got = decided[text]
    action, matter, language, said = PROMISED[text]
    assert (got["action"], got["language"]) == (action, language)
    assert got["reason" if action == "hand_off" else "topic"] == matter
    assert said in got["reply"]
