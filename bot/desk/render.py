"""How the desk's pages are made: templates, times, links, and the headers that every page carries."""

import re
from dataclasses import dataclass
from datetime import date, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.staticfiles import StaticFiles

from bot.desk.words import LANGUAGES, words

HERE = Path(__file__).resolve().parent
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",  # pages hold customers' data
    "Referrer-Policy": "same-origin",  # with `no-referrer` a form's Origin would be "null"
}
ANCHOR = Markup('<a href="{0}" target="_blank" rel="noopener noreferrer">{0}</a>')
LINK = re.compile(r"https?://[^\s<>\"']*[^\s<>\"'.,:;!?)\]}]")


class Static(StaticFiles):
    """Our scripts and styles. Browsers ask whether they still have the newest: modules import each other
    by name, without a version."""

    def file_response(self, *given: Any, **more: Any) -> Response:
        """Starlette's own, never used unasked."""
        response = super().file_response(*given, **more)
        response.headers["Cache-Control"] = "no-cache"
        return response


static = Static(directory=HERE / "static")


@dataclass(frozen=True)
class Times:
    """Times as the shop's clock shows them, seen from `now`, in a language of the desk."""

    now: datetime
    zone: ZoneInfo
    language: str = "en"

    def local(self, at: datetime) -> datetime:
        """The same moment in the shop's time zone."""
        return at.astimezone(self.zone)

    def written(self, at: date, pattern: str) -> str:
        """A moment, on the shop's clock, or a day; `pattern` is strftime's, in the page's language."""
        local = self.local(at) if isinstance(at, datetime) else at
        own = words(self.language)
        weekday, month = own["WEEKDAYS"][local.weekday()], own["MONTHS"][local.month - 1]
        for sign, name in (("%A", weekday), ("%B", month), ("%b", month[:3])):
            pattern = pattern.replace(sign, name)
        return local.strftime(pattern)

    def minutes(self, at: datetime) -> int:
        """Whole minutes since then; never negative."""
        return max(0, int((self.now - at).total_seconds() // 60))

    def minutes_until(self, at: datetime) -> int:
        """Whole minutes from now until then; never negative."""
        return max(0, int((at - self.now).total_seconds() // 60))

    def days(self, at: datetime) -> int:
        """Calendar days since then: 0 is today."""
        return (self.local(self.now).date() - self.local(at).date()).days


def page(name: str, times: Times, code: int = 200, **shown: Any) -> HTMLResponse:
    """A template as a response, in the language of `times`.

    `shown` is what the template asks for; one that is missing raises.
    """
    html = _environments[times.language].get_template(name).render(**shown, times=times)
    return HTMLResponse(html, code, HEADERS)


def linked(text: str) -> Markup:
    """Plain text with its web addresses as links that tell the other site nothing."""
    parts, end = [Markup()], 0
    for found in LINK.finditer(text):
        address = escape(found[0])
        parts.append(escape(text[end : found.start()]))
        parts.append(ANCHOR.format(address))
        end = found.end()
    return Markup().join([*parts, escape(text[end:])])


def initials(name: str) -> str:
    """Up to two letters that stand for a name."""
    words = [word for word in name.split() if word[0].isalnum()] or ["?"]
    return "".join(word[0] for word in (words if len(words) < 2 else (words[0], words[-1]))).upper()


def versioned(name: str) -> str:
    """A static file's address, which changes when the file does."""
    return f"/desk/static/{name}?v={sha256((HERE / 'static' / name).read_bytes()).hexdigest()[:12]}"


def marked(text: str, found: str | None) -> Markup:
    """Plain text with its links, and the words that were found in it marked."""
    at = text.find(found) if found else -1
    if not found or at < 0:
        return linked(text)
    mark = Markup("<mark>{}</mark>").format(found)
    return linked(text[:at]) + mark + linked(text[at + len(found) :])


def _environment(language: str) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"linked": linked, "initials": initials, "marked": marked}
    environment.globals |= {
        "static": versioned,
        "words": words(language),
        "language": language,
        "languages": LANGUAGES,
    }
    return environment


_environments = {language: _environment(language) for language in LANGUAGES}
