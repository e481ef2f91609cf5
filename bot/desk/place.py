"""Where in the stream a page is: its view, filters and length, as they ride along in its links."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Annotated
from urllib.parse import parse_qsl, urlencode

from fastapi import Depends, Form, Request

from bot.desk.stream import LONGEST, PAGE, Filters, View
from bot.domain.words import Channel, Reason

SEARCH_LIMIT = 200  # characters


@dataclass(frozen=True)
class Place:
    """`rows` is how many conversations are shown, `before` the key after which they begin."""

    view: View = View.WAITING
    filters: Filters = field(default_factory=Filters)
    rows: int = PAGE
    before: str | None = None

    @property
    def query(self) -> str:
        """As the query of a link."""
        f = self.filters
        parts: dict[str, str | int | None] = {
            "view": self.view.value,
            "channel": f.channel and f.channel.value,
            "reason": f.reason and f.reason.value,
            "language": f.language,
            "agent": f.agent,
            "q": f.text,
            "rows": self.rows if self.rows != PAGE else None,
            "before": self.before,
        }
        return urlencode({name: value for name, value in parts.items() if value})

    def at(self, view: View) -> "Place":
        """Another view with the same filters, from its top."""
        return replace(self, view=view, rows=PAGE, before=None)

    @property
    def unfiltered(self) -> "Place":
        """The same view without filters."""
        return Place(self.view)

    def longer(self, key: str, found: int) -> "Place":
        """The same with one more page; the page after `key` once that would be too long, or where not even
        this one is full (`found`)."""
        if found >= self.rows and self.rows + PAGE <= LONGEST:
            return replace(self, rows=self.rows + PAGE)
        return replace(self, rows=PAGE, before=key)


def read(query: Mapping[str, str]) -> Place:
    """A place from a link's query; what can't be read there is left out."""
    language, agent, rows = query.get("language", ""), query.get("agent", ""), query.get("rows", "")
    filters = Filters(
        channel=_word(Channel, query.get("channel", "")),
        reason=_word(Reason, query.get("reason", "")),
        language=language if language.isalpha() and len(language) <= 16 else None,
        agent=int(agent) if agent.isascii() and agent.isdigit() and len(agent) < 10 else None,
        text=query.get("q", "").replace("\0", "").strip()[:SEARCH_LIMIT],
    )
    length = int(rows) if rows.isascii() and rows.isdigit() and len(rows) < 5 else PAGE
    view = _word(View, query.get("view", "")) or View.WAITING
    return Place(view, filters, max(1, min(length, LONGEST)), query.get("before", "")[:60] or None)


def _word[E: Enum](kind: type[E], text: str) -> E | None:
    return next((word for word in kind if word.value == text), None)


def _of_link(request: Request) -> Place:
    return read(request.query_params)


def _of_form(place: Annotated[str, Form(max_length=2_000)] = "") -> Place:
    return read(dict(parse_qsl(place)))


Here = Annotated[Place, Depends(_of_link)]  # of a page that is fetched
Back = Annotated[Place, Depends(_of_form)]  # of the page that a form was sent from
