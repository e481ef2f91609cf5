"""`python -m bot …`: the command line."""

import argparse
import asyncio
import getpass
import os
import sys
import threading
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from bot import settings as settings_module
from bot.domain.errors import BadInput, ReplyTwiceError, SettingError
from bot.settings import ROOT, Settings

if TYPE_CHECKING:
    from bot.store.engine import Store

WRONG_SETTING = 2  # exit codes: a wrong setting or call
STARTUP_FAILED = 3  # as uvicorn's own
FAILED = 1  # what was asked for can't be done
PATIENCE = timedelta(seconds=60)  # nobody waits at the other end


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns its exit code. Every error is one clear message."""
    options = _parser().parse_args(arguments)
    os.umask(0o077)  # what we write holds customers' data
    try:
        options.command(settings_module.load(), options)
    except SettingError as error:
        if str(error):
            print(error, file=sys.stderr)
        return WRONG_SETTING
    except ReplyTwiceError as error:
        print(error, file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bot", description="Reply Twice")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add(name: str, command: object, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(command=command)
        return added

    add("run", run, "Start everything: bot, actions and Rasa, training the model if needed.")
    add("serve", serve, "Start the bot process alone; Rasa runs elsewhere (RASA_URL).")
    add("rasa", rasa, "Start Rasa and its action server alone, for bot processes elsewhere (RASA_URL).")
    add("train", train, "Train the model if its inputs changed.")
    decide_ = add("decide", decide, "Say what the bot would do with each first message of a file.")
    decide_.add_argument("--in", dest="input", type=Path, required=True, help='JSON lines {"id","text"}')
    decide_.add_argument("--out", type=Path, required=True, help="JSON lines, one decision each")
    orders = add("import-orders", import_orders, "Import orders from a CSV file; a bad row imports nothing.")
    orders.add_argument(
        "file", type=Path, help="number,email,name,status,carrier,tracking,placed_at,eta,items"
    )
    backup_ = add("backup", backup, "Copy the embedded database to a file, also while the bot runs.")
    backup_.add_argument("file", type=Path, help="a file that doesn't exist yet")
    restore_ = add("restore", restore, "Put a copy in the database's place; the bot must not be running.")
    restore_.add_argument("file", type=Path, help="what `backup` wrote")
    agent = add("add-agent", add_agent, "Add an agent; the password is read from standard input.")
    agent.add_argument("--email", required=True)
    agent.add_argument("--name", required=True)
    agent.add_argument("--role", required=True, choices=("agent", "supervisor"))
    profile = add(
        "set-up-messenger",
        set_up_messenger,
        "Send Get Started, greeting and ice breakers to Meta; subscribe.",
    )
    profile.add_argument("--file", type=Path, help="texts, as in bot/channels/profile.yml (the default)")
    add("doctor", doctor, "Check the connection to Meta; ends with 1 if there is a problem.")
    return parser


def run(settings: Settings, _options: argparse.Namespace) -> None:
    """See `bot.processes.run`."""
    from bot import processes  # noqa: PLC0415 (each command loads only what it needs)

    asyncio.run(processes.run(settings))


def serve(settings: Settings, _options: argparse.Namespace) -> None:
    """Serves until it is told to stop."""
    import uvicorn  # noqa: PLC0415

    from bot import logs  # noqa: PLC0415
    from bot.app import Server, build  # noqa: PLC0415
    from bot.backup import serving  # noqa: PLC0415
    from bot.processes import check_port  # noqa: PLC0415
    from bot.rehearsal import rehearse  # noqa: PLC0415

    logs.set_up(settings.log_level, settings.log_format)
    check_port("PORT", settings.host, settings.port)
    with serving(settings):
        app = build(settings)
        threading.Thread(target=rehearse, args=(app.state.services,), daemon=True).start()
        # No access log: the web chat's stream carries its token in the address.
        config = uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            forwarded_allow_ips=list(settings.proxies),
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=3,
        )
        server = Server(config, app.state.services.hub)
        with suppress(KeyboardInterrupt):
            server.run()
        if not server.started:
            raise SystemExit(STARTUP_FAILED)


def rasa(settings: Settings, _options: argparse.Namespace) -> None:
    """See `bot.processes.run_rasa`."""
    from bot import processes  # noqa: PLC0415

    asyncio.run(processes.run_rasa(settings))


def train(_settings: Settings, _options: argparse.Namespace) -> None:
    """Prints the model's path."""
    from bot import training  # noqa: PLC0415

    print(asyncio.run(training.train()))


def decide(settings: Settings, options: argparse.Namespace) -> None:
    """Starts a Rasa of its own, so that it needs nothing running and disturbs nothing."""
    from bot import decisions, processes  # noqa: PLC0415
    from bot.brain import Rasa  # noqa: PLC0415
    from bot.services import utc_now  # noqa: PLC0415

    asked = decisions.read_file(options.input)
    _store(settings)

    async def decided() -> list[dict[str, object]]:
        async with processes.private_rasa(settings) as url:
            brain = Rasa((url,), PATIENCE, ROOT / "domain.yml")
            try:
                context = decisions.first_message(settings, utc_now())
                return await decisions.decide_all(brain, asked, context)
            finally:
                await brain.close()

    decisions.write_file(options.out, asyncio.run(decided()))


def import_orders(settings: Settings, options: argparse.Namespace) -> None:
    """All rows or none."""
    from bot import orders  # noqa: PLC0415

    with _store(settings).unit_of_work() as session:
        count = orders.import_orders(session, options.file)
    print(f"{count} {'order' if count == 1 else 'orders'} imported.")


def backup(settings: Settings, options: argparse.Namespace) -> None:
    """See `bot.backup.backup`."""
    from bot.backup import backup as write  # noqa: PLC0415

    print(f"{write(settings, options.file)} bytes written to {options.file}.")


def restore(settings: Settings, options: argparse.Namespace) -> None:
    """See `bot.backup.restore`; then brings an older copy to the newest schema."""
    from bot.backup import restore as put_back  # noqa: PLC0415
    from bot.services import utc_now  # noqa: PLC0415

    before = put_back(settings, options.file, utc_now())
    _store(settings)
    print(f"Restored from {options.file}." + (f" The database before it is {before}." if before else ""))


def add_agent(settings: Settings, options: argparse.Namespace) -> None:
    """Asks for the password, or reads its first line from a pipe."""
    from bot.desk import agents  # noqa: PLC0415
    from bot.services import utc_now  # noqa: PLC0415

    try:
        password = getpass.getpass() if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
    except UnicodeDecodeError:
        raise BadInput("The password isn't UTF-8.") from None
    with _store(settings).unit_of_work() as session:
        agent = agents.add_agent(session, options.email, options.name, options.role, password, utc_now())
    print(f"{agent.email} can log in at the desk.")


def set_up_messenger(settings: Settings, options: argparse.Namespace) -> None:
    """What customers see before they write, in the shop's languages."""
    from bot.channels import profile  # noqa: PLC0415
    from bot.channels.graph import Graph  # noqa: PLC0415

    async def done() -> list[str]:
        graph = Graph(settings.messenger)
        try:
            return await profile.set_up(settings, graph, options.file or profile.FILE)
        finally:
            await graph.close()

    print("\n".join(asyncio.run(done())))


def doctor(settings: Settings, _options: argparse.Namespace) -> None:
    """A line for each finding. Raises Unwell if one is a problem."""
    from bot import doctor as checks  # noqa: PLC0415
    from bot.channels.graph import Graph  # noqa: PLC0415

    async def problems() -> int:
        graph, count = Graph(settings.messenger), 0
        try:
            async for finding in checks.examine(settings, _store(settings), graph):
                print(finding, flush=True)
                count += finding.mark is checks.Mark.PROBLEM
        finally:
            await graph.close()
        return count

    count = asyncio.run(problems())
    if count:
        raise Unwell(f"{count} {'problem' if count == 1 else 'problems'}.")
    print("No problem.")


class Unwell(ReplyTwiceError):
    """The doctor has found a problem."""


def _store(settings: Settings) -> "Store":
    from bot.store.engine import Store  # noqa: PLC0415

    store = Store(settings.database_url)
    store.migrate()
    return store


if __name__ == "__main__":
    sys.exit(main())
