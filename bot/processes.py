"""The product's three processes: started, watched, and ended together."""

import asyncio
import errno
import re
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from bot import children, training
from bot.domain.errors import SettingError
from bot.settings import ROOT, Settings

RASA_BIN = ROOT / ".venv-rasa" / "bin" / "python"
RESTART_FIRST, RESTART_MOST = 1.0, 30.0  # seconds before a process that died is started again
LONGEST_LINE = 1 << 20  # bytes of a log
WARNING = re.compile(r"\S+\.py:\d+: \w*Warning: ")


def say(line: str) -> None:
    """A line for whoever started the product."""
    print(line, flush=True)


async def run(settings: Settings) -> None:
    """Everything: demo data, bot, actions, training, Rasa. Runs until SIGINT or SIGTERM.

    Raises SettingError for a taken port and for failed training.
    """
    for name, port in (
        ("PORT", settings.port),
        ("RASA_PORT", settings.rasa_port),
        ("ACTIONS_PORT", settings.actions_port),
    ):
        check_port(name, settings.host if name == "PORT" else "127.0.0.1", port)
    async with ended_by_signal(), asyncio.TaskGroup() as group:
        group.create_task(keep("bot", [sys.executable, "-m", "bot", "serve"]))
        await _until(f"http://127.0.0.1:{settings.port}/healthz")
        _greet(settings, await asyncio.to_thread(_seed, settings))
        group.create_task(keep("actions", actions_command(settings)))
        if not training.model_path().exists():
            say("Training the model (only when its inputs changed; a minute or two) …")
        model = await training.train()
        say("Loading the model … messages are accepted already and answered when it is ready.")
        group.create_task(keep("rasa", rasa_command(settings, model)))
        await _until(f"http://127.0.0.1:{settings.port}/readyz")
        say("Ready. Ctrl-C ends everything.")


async def run_rasa(settings: Settings) -> None:
    """Rasa and its action server, for bot processes that run elsewhere. Runs until SIGINT or SIGTERM.

    Raises SettingError for a taken port and for failed training.
    """
    check_port("RASA_PORT", settings.rasa_host, settings.rasa_port)
    check_port("ACTIONS_PORT", "127.0.0.1", settings.actions_port)
    async with ended_by_signal(), asyncio.TaskGroup() as group:
        group.create_task(keep("actions", actions_command(settings)))
        model = await training.train()
        group.create_task(keep("rasa", rasa_command(settings, model)))


def _seed(settings: Settings) -> tuple[str, str] | None:
    from bot import demo  # noqa: PLC0415 (the bot shall serve before this process loads the database's code)
    from bot.store.engine import Store  # noqa: PLC0415

    if not settings.demo:
        return None
    with Store(settings.database_url).unit_of_work() as session:
        return demo.seed(session)


def _greet(settings: Settings, login: tuple[str, str] | None) -> None:
    address = f"http://localhost:{settings.port}"
    say(f"\n  Shop and web chat   {address}/\n  Desk                {address}/desk")
    if login:
        say(f"  Log in as           {login[0]}\n  Password            {login[1]}   (shown once)")
    say("")


def actions_command(settings: Settings) -> list[str]:
    """Rasa's action server, in the bot environment; loopback only."""
    return [sys.executable, "-m", "actions", str(settings.actions_port)]


def rasa_command(settings: Settings, model: Path) -> list[str]:
    """Rasa, asking the action server on its port; its locks are in Redis if there is one."""
    import yaml  # noqa: PLC0415 (see _seed)

    endpoints = yaml.safe_load((ROOT / "endpoints.yml").read_text(encoding="utf-8"))
    endpoints["action_endpoint"] = {"url": f"http://127.0.0.1:{settings.actions_port}/webhook"}
    if settings.redis_url:
        endpoints["lock_store"] = {"type": "bot.components.locks.SharedLocks", "url": settings.redis_url}
    written = settings.data / f"endpoints-{settings.rasa_port}.yml"
    written.touch(mode=0o600)
    written.write_text(yaml.safe_dump(endpoints), encoding="utf-8")
    return [
        str(RASA_BIN), "-m", "rasa", "run", "--model", str(model), "--endpoints", str(written),
        "--credentials", str(ROOT / "credentials.yml"), "--interface", settings.rasa_host,
        "--port", str(settings.rasa_port),
    ]  # fmt: skip


@asynccontextmanager
async def private_rasa(settings: Settings) -> AsyncIterator[str]:
    """A Rasa and an action server of our own on free ports; yields Rasa's address."""
    folder = tempfile.TemporaryDirectory()
    settings = replace(settings, data=Path(folder.name), rasa_port=free_port(), actions_port=free_port())
    model = await training.train()
    url = f"http://127.0.0.1:{settings.rasa_port}"
    jobs = [
        asyncio.create_task(keep("actions", actions_command(settings))),
        asyncio.create_task(keep("rasa", rasa_command(settings, model))),
    ]
    try:
        await _until(f"{url}/webhooks/turn/ready")
        yield url
    finally:
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
        folder.cleanup()


async def keep(name: str, command: Sequence[str]) -> NoReturn:
    """Runs a process and starts it again when it dies, until cancelled; then ends it.

    Raises SettingError, without a word, when it ends with 2: it has said what setting is wrong.
    """
    pause = RESTART_FIRST
    while True:
        started = asyncio.get_running_loop().time()
        environment = {} if name == "bot" else training.QUIET | training.ONE_THREAD
        process = await children.start(
            command, environment, stderr=asyncio.subprocess.PIPE, limit=LONGEST_LINE
        )
        log = asyncio.create_task(_pass_on(process))
        try:
            code = await process.wait()
        finally:
            await children.end(process)  # its own children may have outlived it
            await log
        if code == 2:
            raise SettingError
        lived = asyncio.get_running_loop().time() - started
        pause = RESTART_FIRST if lived > RESTART_MOST else min(pause * 2, RESTART_MOST)
        say(f"{name} ended with {code}; starting it again in {pause:g} s")
        await asyncio.sleep(pause)


async def _pass_on(process: asyncio.subprocess.Process) -> None:
    """A process's log, less the warnings by which libraries talk to their developers.

    Sanic switches them on as Rasa loads, whatever PYTHONWARNINGS says.
    """
    within_warning = False
    assert process.stderr  # noqa: S101 (it was started with a pipe)
    async for raw in process.stderr:
        line = raw.decode(errors="replace")
        if WARNING.match(line):
            within_warning = True
        elif within_warning:
            within_warning = not line.startswith("  ")  # the line of code ends it
        else:
            sys.stderr.write(line)
            sys.stderr.flush()


@asynccontextmanager
async def ended_by_signal() -> AsyncIterator[None]:
    """SIGINT and SIGTERM cancel what runs inside; that is a normal end."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    stopped = False

    def stop() -> None:
        nonlocal stopped
        stopped = True
        if task:
            task.cancel()

    for sign in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(sign, stop)
    try:
        yield
    except asyncio.CancelledError:
        if not stopped:
            raise
    except BaseExceptionGroup as group:
        found = group.subgroup(SettingError)
        if found:
            raise found.exceptions[0] from None
        raise


def check_port(name: str, host: str, port: int) -> None:
    """Raises SettingError if a port can't be listened on."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE and name == "PORT":
                name = "HOST or PORT"
            raise SettingError(
                f"{name}: can't listen on {host}:{port} ({error.strerror}); set another {name}."
            ) from None


def free_port() -> int:
    """A loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def _until(url: str) -> None:
    """Returns once an address answers 200."""
    import httpx  # noqa: PLC0415 (see _seed)

    async with httpx.AsyncClient(trust_env=False, timeout=2) as client:
        while True:
            try:
                if (await client.get(url)).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            await asyncio.sleep(0.2)
