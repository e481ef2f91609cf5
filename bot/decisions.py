"""`decide`: what the bot would do with each of many first messages, as a file in and a file out."""

import asyncio
import json
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from bot.brain import Brain
from bot.domain.errors import BadInput
from bot.domain.rule import Action, Context, last_word
from bot.settings import Settings, opens_at

AT_ONCE = 8


@dataclass(frozen=True)
class Asked:
    """One line of the input."""

    id: str | int
    text: str


def read_file(path: Path) -> list[Asked]:
    """Reads JSON lines of `id` and `text`, UTF-8. Raises BadInput naming each bad line."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # a message may hold other line breaks
    except OSError as error:
        raise BadInput(f"{path}: can't be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise BadInput(f"{path}: isn't UTF-8.") from None
    asked, problems = [], []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            data = json.loads(line)
            if not isinstance(data["id"], str | int) or not isinstance(data["text"], str):
                raise TypeError
            asked.append(Asked(data["id"], data["text"]))
        except (ValueError, KeyError, TypeError, RecursionError):
            problems.append(f'line {number}: must be an object like {{"id": "1", "text": "…"}}')
    if problems:
        raise BadInput("\n".join(problems[:20]))
    return asked


def first_message(settings: Settings, now: datetime) -> Context:
    """A first private message of an unknown customer, read once it is clear that no more follows."""
    return Context(quiet=True, opens_at=opens_at(settings, now))


async def decide_all(brain: Brain, asked: list[Asked], context: Context) -> list[dict[str, Any]]:
    """The decision on each message, in the order of the input. Raises BrainDown."""
    turnstile = asyncio.Semaphore(AT_ONCE)

    async def one(number: int, message: Asked) -> dict[str, Any]:
        async with turnstile:
            return await _decide(brain, f"decide-{os.getpid()}-{number}", message, context)

    return list(await asyncio.gather(*(one(n, message) for n, message in enumerate(asked))))


async def _decide(brain: Brain, key: str, message: Asked, context: Context) -> dict[str, Any]:
    proposal = await brain.read_and_reply(key, message.text, context)
    effect = last_word(proposal, context)
    action = Action.HAND_OFF if effect.hand_off else proposal.action
    return {
        "id": message.id,
        # A bare "ok" with nothing before it gets no reply either.
        "action": Action.CLOSE.value if action is Action.WAIT else action.value,
        "topic": proposal.topic.value if proposal.topic else None,
        "reason": effect.hand_off.value if effect.hand_off else None,
        "confidence": round(proposal.confidence, 4),
        "language": proposal.language,
        "reply": effect.reply,
    }


def write_file(path: Path, decisions: list[dict[str, Any]]) -> None:
    """Writes JSON lines, all or nothing. Raises BadInput if the file can't be written."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with scratch.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(decision, ensure_ascii=False) + "\n" for decision in decisions)
        scratch.replace(path)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        raise BadInput(f"{path}: can't be written ({error.strerror}).") from None
