"""The whole product as a newcomer starts it, and a real browser."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, sync_playwright

from bot.processes import free_port
from bot.settings import ROOT
from scripts import browser as browsers
from tests.support import wait_for

READY_SECONDS = 300  # training on a slow machine included


class Product:
    """`make run`, less the set-up: three processes, their ports, and what they print."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "run.log"
        self._env = os.environ | {
            "DATA_DIR": str(folder / "var"),
            "PORT": str(self.port),
            "RASA_PORT": str(free_port()),
            "ACTIONS_PORT": str(free_port()),
            "OPENING_HOURS": "Mon-Sun 00:00-23:59",
            **settings,
        }

    def start(self) -> None:
        log: IO[str] = self.log.open("w")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bot", "run"],
            cwd=ROOT,
            env=self._env,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        log.close()
        wait_for(lambda: self.answers("/healthz"), 60)

    def answers(self, path: str) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(self.url + path, timeout=2, trust_env=False).status_code == 200
        return False

    def wait_until_ready(self) -> None:
        wait_for(lambda: self.answers("/readyz"), READY_SECONDS)

    def supervisor(self) -> tuple[str, str]:
        """The demo supervisor's e-mail and password, as printed."""
        found = wait_for(lambda: re.search(r"Log in as +(\S+)\n +Password +(\S+)", self.log.read_text()))
        return found[1], found[2]

    def add_agent(self, email: str, name: str, password: str) -> None:
        arguments = ["add-agent", "--email", email, "--name", name, "--role", "agent"]
        subprocess.run(
            [sys.executable, "-m", "bot", *arguments],
            cwd=ROOT,
            env=self._env,
            input=password,
            text=True,
            check=True,
        )

    def children(self) -> list[int]:
        """Every process below ours."""
        listed = subprocess.run(["ps", "-eo", "pid,ppid"], capture_output=True, text=True, check=True)
        parents = {
            int(pid): int(ppid) for pid, ppid in (row.split() for row in listed.stdout.splitlines()[1:])
        }
        return [pid for pid, ppid in parents.items() if ppid == self.process.pid]

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(30)


@pytest.fixture(scope="package")  # ends before other tests: Playwright holds the event loop
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    product = Product(tmp_path_factory.mktemp("product"))
    product.start()
    try:
        product.wait_until_ready()
        yield product
    finally:
        product.interrupt()


@pytest.fixture(scope="package")  # ends before other tests: Playwright holds the event loop
def browser() -> Iterator[Browser]:
    path = browsers.find()
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("NO BROWSER")
        pytest.skip("NO BROWSER: install Chromium, or `python -m playwright install chromium`")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync",
                  "--disable-component-update", "--no-first-run", "--disable-dev-shm-usage"],
        )  # fmt: skip
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(locale="en-GB")
    context.set_default_timeout(20_000)
    yield context
    context.close()
