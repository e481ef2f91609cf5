"""Rasa's action server, on the loopback interface: `python -m actions [PORT]`."""

import os
import sys

from rasa_sdk.constants import DEFAULT_SERVER_PORT
from rasa_sdk.endpoint import run
from rasa_sdk.executor import ActionExecutor

from actions.order_look_up import LookUpOrder


def main() -> None:
    """Serves until SIGINT or SIGTERM."""
    os.environ["SANIC_HOST"] = "127.0.0.1"  # rasa_sdk has no argument for it and listens everywhere
    executor = ActionExecutor()
    executor.register_action(LookUpOrder)
    run(executor, port=int(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_SERVER_PORT)


if __name__ == "__main__":
    main()
