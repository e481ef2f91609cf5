"""Brings a redis-server for the tests: the system's, or Debian's where we are root."""

import os
import shutil
import sys

from scripts.debian import install


def bring() -> str | None:
    """Finds one, or installs one."""
    if not shutil.which("redis-server"):
        print("set-up: fetching redis-server for the tests", flush=True)
        install("redis-server")
    return shutil.which("redis-server")


if __name__ == "__main__":
    if bring() is None:
        print("NO REDIS: the tests of several processes with Redis can't run.", file=sys.stderr)
        sys.exit(1 if os.environ.get("CI") else 0)
