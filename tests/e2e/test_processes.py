"""Starting, stopping and surviving, with real processes."""

import os
import signal
from pathlib import Path

import httpx

from tests.e2e.conftest import Product
from tests.support import Visitor, wait_for


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z" if Path("/proc").exists() else True


def test_ctrl_c_ends_every_process(tmp_path: Path):
    product = Product(tmp_path)
    product.start()
    children = wait_for(lambda: len(found := product.children()) >= 2 and found)
    assert product.interrupt() == 0
    assert not [pid for pid in children if alive(pid)]


def test_a_killed_starter_leaves_nothing_behind(tmp_path: Path):
    product = Product(tmp_path)
    product.start()
    children = wait_for(lambda: len(found := product.children()) >= 2 and found)
    product.process.kill()
    product.process.wait()
    wait_for(lambda: not [pid for pid in children if alive(pid)])


def test_a_killed_bot_comes_back_and_loses_nothing(product: Product):
    with httpx.Client(base_url=product.url, timeout=10, trust_env=False) as http:
        visitor = Visitor(http)
        visitor.posts("how do i return something?")
        bot = next(pid for pid in product.children() if "serve" in Path(f"/proc/{pid}/cmdline").read_text())
        os.kill(bot, signal.SIGKILL)
        wait_for(lambda: product.answers("/readyz"), 60)
        wait_for(lambda: visitor.texts("bot"), 120)
        assert visitor.texts("customer") == ["how do i return something?"]
        assert len(visitor.texts("bot")) == 1
