"""The words of the supervisors' pages, a file for each language."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml
from fastapi import Request

from bot.store.tables import Agent

FOLDER = Path(__file__).resolve().parent / "words" / "shift"
LANGUAGES = ("en", "ko", "ja")


@cache
def words(language: str) -> dict[str, Any]:
    """Every word in one of our languages."""
    found: dict[str, Any] = yaml.safe_load((FOLDER / f"{language}.yml").read_text(encoding="utf-8"))
    return found


def language_of(request: Request, agent: Agent | None = None) -> str:
    """The language that an agent has chosen, else the first of their browser's that we have."""
    chosen = getattr(agent, "language", None)
    wanted = [chosen or "", *request.headers.get("accept-language", "").split(",")]
    tongues = [one.split(";")[0].strip().lower().split("-")[0] for one in wanted]
    return next((tongue for tongue in tongues if tongue in LANGUAGES), "en")


def said(language: str, text: str) -> str:
    """An error's sentence in a language; as it is if there is no other."""
    errors: dict[str, str] = words(language)["errors"]
    return errors.get(text, text)
