"""The words of the supervisors' pages, a file for each language."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml
from fastapi import Request

from bot.desk.words import chosen
from bot.store.tables import Agent

FOLDER = Path(__file__).resolve().parent / "words" / "shift"


@cache
def words(language: str) -> dict[str, Any]:
    """Every word in one of our languages."""
    found: dict[str, Any] = yaml.safe_load((FOLDER / f"{language}.yml").read_text(encoding="utf-8"))
    return found


def language_of(request: Request, agent: Agent | None = None) -> str:
    """The language that an agent has chosen, else the first of their browser's that we have."""
    return chosen(agent.language if agent else None, request.headers.get("accept-language", ""))


def said(language: str, text: str) -> str:
    """An error's sentence in a language; as it is if there is no other."""
    errors: dict[str, str] = words(language)["errors"]
    return errors.get(text, text)
