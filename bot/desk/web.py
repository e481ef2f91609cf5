"""What the desk's pages share: who reads and writes, errors as pages, times in the reader's language."""

from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import urlencode, urlsplit

import structlog
from fastapi import Depends, Form, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute

from bot.desk import api
from bot.desk.events import Reader
from bot.desk.render import Times, page
from bot.desk.words import chosen
from bot.domain.errors import BadInput, Conflict, NotAllowed, NotFound, NotLoggedIn, StoreDown
from bot.services import Services

log = structlog.get_logger()


class SupervisorsOnly(NotAllowed):
    """An agent may not do this."""


class Page(APIRoute):
    """A route whose errors are pages, and which sends whoever isn't logged in to the log-in page."""

    def get_route_handler(self) -> Callable[..., Any]:
        """FastAPI's own handler, wrapped."""
        handle = super().get_route_handler()

        async def handle_or_explain(request: Request) -> Response:
            try:
                response: Response = await handle(request)
            except NotLoggedIn:
                return to_login(request)
            except RequestValidationError:
                return _error(request, 404 if request.method == "GET" else 422)
            except SupervisorsOnly:
                return _error(request, 403, "supervisors")
            except (NotFound, BadInput, Conflict, NotAllowed) as error:
                return _error(request, status_of(error))
            except StoreDown as error:
                log.error("request.failed", error=str(error))
                return _error(request, 503)
            return response

        return handle_or_explain


def writer_of(
    reader: Reader, csrf: Annotated[str, Form()] = "", x_csrf_token: Annotated[str, Header()] = ""
) -> api.Caller:
    """Who sends a form of ours. Raises NotLoggedIn, or NotAllowed for another site's form."""
    api.check_csrf(reader.token, x_csrf_token or csrf)
    return reader


def check_same_site(
    request: Request, sec_fetch_site: Annotated[str, Header()] = "", origin: Annotated[str, Header()] = ""
) -> None:
    """Where there is no session yet, the browser says whose form it is. Raises NotAllowed."""
    elsewhere = bool(origin) and urlsplit(origin).netloc != request.headers.get("host")
    if sec_fetch_site not in ("", "same-origin", "none") or (not sec_fetch_site and elsewhere):
        raise NotAllowed("This form came from another site.")


Writer = Annotated[api.Caller, Depends(writer_of)]
SAME_SITE = [Depends(check_same_site)]


def times_of(services: Services, language: str = "en") -> Times:
    """Now, on the shop's clock, in a language of the desk."""
    return Times(services.clock(), services.settings.time_zone, language)


def status_of(error: NotFound | BadInput | Conflict | NotAllowed) -> int:
    """The HTTP status of what couldn't be done."""
    statuses = {NotFound: 404, BadInput: 422, Conflict: 409}
    return next((status for kind, status in statuses.items() if isinstance(error, kind)), 403)


def to_login(request: Request) -> Response:
    """To the log-in page, and from there back; a form that came too late leads to its page."""
    wanted = request.url.path
    if request.method == "POST":
        wanted = wanted.rpartition("/")[0]
    elif request.url.query:
        wanted += f"?{request.url.query}"
    return RedirectResponse(f"/desk/login?{urlencode({'next': wanted})}", 303)


def _error(request: Request, status: int, kind: str | None = None) -> Response:
    """The page that explains it; `kind` where its words aren't just the status's."""
    services: Services = request.app.state.services
    language = chosen(None, request.headers.get("accept-language", ""))
    return page("error.html", times_of(services, language), status, kind=kind or status)
