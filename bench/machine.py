"""Processes that the bench starts, and what they cost."""

from __future__ import annotations

import os
import platform
import signal
import socket
import subprocess
import sysconfig
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON, RASA_PYTHON = ROOT / ".venv" / "bin" / "python", ROOT / ".venv-rasa" / "bin" / "python"


def free_port() -> int:
    """A loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Process:
    """A command in a group of its own, its output in a file."""

    def __init__(self, command: Sequence[str | Path], log: Path, **env: str) -> None:
        self.log = log
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                list(map(str, command)),
                cwd=ROOT, env=os.environ | env, stdout=output, stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        self.pid = self._popen.pid

    def check(self) -> None:
        """Raises RuntimeError with its last lines if it has ended."""
        if self._popen.poll() is not None:
            raise RuntimeError(f"{self.log.name} ended:\n{self.log.read_text(errors='replace')[-1500:]}")

    def end(self) -> None:
        """Asks it to end; kills it and its children if they don't."""
        if self._popen.poll() is None:
            os.killpg(self.pid, signal.SIGTERM)
            try:
                self._popen.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self.pid, signal.SIGKILL)
                self._popen.wait()


def family(pid: int) -> list[int]:
    """A process and all below it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in children for one in family(int(child)))]


def pss(pids: Sequence[int]) -> float:
    """Megabytes of memory, what several processes share divided among them (Linux)."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1024


def processor(pids: Sequence[int]) -> float:
    """Seconds of processor time that they have used."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def until(condition: Callable[[], bool], seconds: float, process: Process | None = None) -> float:
    """Waits for a condition; returns how long that took. Raises TimeoutError or RuntimeError."""
    start = time.perf_counter()
    while not condition():
        if process:
            process.check()
        if time.perf_counter() - start > seconds:
            raise TimeoutError(f"not within {seconds:g} s")
        time.sleep(0.02)
    return time.perf_counter() - start


def answers(url: str) -> bool:
    """Whether a GET is answered with 200."""
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def machine() -> str:
    """What it runs on, in words."""
    models = [
        line.split(":")[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if "model name" in line
    ]
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / 1024**2
    optimized = "enable-optimizations" in str(sysconfig.get_config_var("CONFIG_ARGS"))
    return (
        f"{len(os.sched_getaffinity(0))} cores ({models[0] if models else 'unknown'}), {memory:.0f} GB, "
        f"Python {platform.python_version()} configured {'with' if optimized else 'without'} "
        "--enable-optimizations"
    )
