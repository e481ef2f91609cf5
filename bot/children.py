"""Processes that we start, and that never outlive us."""

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from bot.settings import ROOT

END_SECONDS = 8  # to end by itself before it is killed
PR_SET_PDEATHSIG = 1  # linux/prctl.h


async def start(command: Sequence[str], env: Mapping[str, str], **pipes: Any) -> asyncio.subprocess.Process:
    """Starts a command in the repo, in a process group of its own. `env` comes on top of ours."""
    return await asyncio.create_subprocess_exec(
        *command,
        cwd=ROOT,
        env=os.environ | env,
        stdin=asyncio.subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=_die_with_parent(),
        **pipes,
    )


async def end(process: asyncio.subprocess.Process) -> None:
    """Asks a process to end, and kills what is left of it and its children, also if it has ended."""
    if process.returncode is None:
        with suppress(ProcessLookupError, TimeoutError):
            os.killpg(process.pid, signal.SIGTERM)
            await asyncio.wait_for(process.wait(), END_SECONDS)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def _die_with_parent() -> Callable[[], None] | None:
    """Linux ends our children even when we are killed; elsewhere they outlive a `kill -9`."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)

    def ask() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    return ask
