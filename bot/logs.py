"""One line per event, as key=value or as JSON. No customer's text, at any level.

An exception is told by its type and where it was raised, never by its message: a database quotes in it
what it could not store.
"""

import logging
import sys
import traceback
from types import TracebackType
from typing import Any

import structlog
from structlog.typing import EventDict, Processor

from bot.domain.errors import ReplyTwiceError

FRAMES = 12  # of the place where it was raised


def set_up(level: str, form: str) -> None:
    """Ours at `level`, libraries' from warnings on: at their finest they quote requests and tokens.

    `form` is "text" (logfmt) or "json".
    """
    render: Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if form == "json"
        else structlog.processors.LogfmtRenderer(sort_keys=False, bool_as_flag=False)
    )
    steps: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        without_words,
        render,
    ]
    structlog.configure(
        processors=steps,
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=lambda *_: structlog.WriteLogger(sys.stderr),
    )
    handler = logging.StreamHandler()
    handler.setFormatter(_Library(steps))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel("WARNING")


def without_words(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Replaces an exception by its types and places. Our own errors' texts are made for logs."""
    found = event.pop("exc_info", None)
    if found is True:
        found = sys.exc_info()
    if isinstance(found, tuple):
        found = found[1]
    if isinstance(found, BaseException):
        event["exception"] = " <- ".join(_told(error) for error in _chain(found))
        event["where"] = _places(found.__traceback__)
    return event


def _chain(error: BaseException) -> list[BaseException]:
    chain: list[BaseException] = []
    step: BaseException | None = error
    while step is not None and step not in chain:
        chain.append(step)
        step = step.__cause__ or (None if step.__suppress_context__ else step.__context__)
    return chain


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if isinstance(error, ReplyTwiceError) else type(error).__name__


def _places(trace: TracebackType | None) -> str:
    frames = traceback.extract_tb(trace)[-FRAMES:]
    return " > ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno}:{frame.name}" for frame in frames)


class _Library(logging.Formatter):
    """What a library logs, in the same shape."""

    def __init__(self, steps: list[Processor]) -> None:
        super().__init__()
        self._steps = steps

    def format(self, record: logging.LogRecord) -> str:
        """The record's line."""
        event: Any = {"event": record.getMessage(), "logger": record.name, "exc_info": record.exc_info}
        for step in self._steps:
            event = step(None, record.levelname.lower(), event)
        return str(event)
