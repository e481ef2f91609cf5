"""Brings a browser for the tests: Playwright's own, the system's Chromium, or Debian's where we are root."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

from scripts.debian import install


def find() -> str | None:
    """The path of a Chromium that can be started, or None."""
    with sync_playwright() as playwright:
        own = Path(playwright.chromium.executable_path)
    if own.exists():
        return str(own)
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((path for name in names if (path := shutil.which(name))), None)


def bring() -> str | None:
    """Finds one, or installs one."""
    if found := find():
        return found
    print("set-up: fetching a browser for the tests", flush=True)
    playwright = [sys.executable, "-m", "playwright", "install", "--only-shell", "chromium"]
    if subprocess.run(playwright, check=False, capture_output=True).returncode == 0 and (found := find()):
        return found
    install("chromium", "fonts-noto-cjk", "fonts-noto-color-emoji")
    return find()


if __name__ == "__main__":
    if bring() is None:
        print(
            "NO BROWSER: the browser tests can't run. Install Chromium, or let Playwright fetch one.",
            file=sys.stderr,
        )
        sys.exit(1 if os.environ.get("CI") else 0)
