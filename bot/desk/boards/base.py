"""What every supervisor's page shares: who may see it, how it looks, what becomes of a form.

The server decides who is a supervisor, on each request and from the database: a role that was taken away
is gone with the next click. `tests/integration/test_supervisors_only.py` walks every route.
"""

from collections.abc import Callable
from typing import Annotated, Any

import structlog
from fastapi import Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute
from sqlalchemy.orm import Session

from bot.desk import agents, api
from bot.desk.events import Reader
from bot.desk.render import page
from bot.desk.web import Writer, times_of
from bot.desk.wording import language_of, said, words
from bot.domain.errors import BadInput, Conflict, NotAllowed, NotFound, NotLoggedIn, StoreDown
from bot.services import Services
from bot.store.tables import Agent

BOARDS = ("reports", "rules", "people", "promises", "settings", "audit")
log = structlog.get_logger()


class Board(APIRoute):
    """A route whose errors are pages."""

    def get_route_handler(self) -> Callable[..., Any]:
        """FastAPI's own handler, wrapped."""
        handle = super().get_route_handler()

        async def handle_or_explain(request: Request) -> Response:
            try:
                response: Response = await handle(request)
            except NotLoggedIn:
                return RedirectResponse("/desk/login", 303)
            except (NotFound, RequestValidationError):
                return _error(request, 404 if request.method == "GET" else 422)
            except NotAllowed:
                return _error(request, 403)
            except StoreDown as error:
                log.error("request.failed", error=str(error))
                return _error(request, 503)
            return response

        return handle_or_explain


def supervisor_of(reader: Reader) -> api.Caller:
    """A logged-in supervisor. Raises NotLoggedIn or NotAllowed."""
    return _checked(reader)


def supervising_of(writer: Writer) -> api.Caller:
    """A supervisor who sends a form of ours. Raises NotLoggedIn or NotAllowed."""
    return _checked(writer)


def _checked(caller: api.Caller) -> api.Caller:
    if caller.agent.role != "supervisor":
        raise NotAllowed("Only supervisors may do this.")
    return caller


Supervisor = Annotated[api.Caller, Depends(supervisor_of)]
Supervising = Annotated[api.Caller, Depends(supervising_of)]


def show(
    request: Request, services: Services, caller: api.Caller, board: str, status: int = 200, **shown: Any
) -> Response:
    """One of the boards. `problem` in `shown` is what went wrong, in English; `done` what was done."""
    language = language_of(request, caller.agent)
    if shown.get("problem"):
        shown["problem"] = said(language, shown["problem"])
    return page(
        f"{board}.html",
        times_of(services, language),
        status,
        **{"problem": "", "done": request.query_params.get("done", ""), **shown},
        t=words(language),
        language=language,
        board=board,
        boards=BOARDS,
        me=caller.agent,
        csrf=agents.csrf_token(caller.token),
        shop=services.settings.shop_name,
    )


def done(
    services: Services,
    caller: api.Caller,
    act: Callable[[Session, Agent], object],
    then: str,
    again: Callable[[str, int], Response],
) -> Response:
    """Does it in one transaction and goes on to `then`; what can't be done is said by `again`."""
    try:
        with services.store.unit_of_work() as session:
            act(session, session.get_one(Agent, caller.agent.id))
    except BadInput as error:
        return again(str(error), 422)
    except (Conflict, NotFound) as error:
        return again(str(error), 409)
    services.runtime.reload()
    return RedirectResponse(then, 303)


def _error(request: Request, status: int) -> Response:
    services: Services = request.app.state.services
    language = language_of(request)
    return page(
        "board_error.html",
        times_of(services, language),
        status,
        t=words(language),
        language=language,
        status=status,
    )
