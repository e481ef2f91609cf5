"""What every supervisor's page shares: who may see it, how it looks, what becomes of a form.

The server decides who is a supervisor, on each request and from the database: a role that was taken away
is gone with the next click. `tests/integration/test_supervisors_only.py` walks every route.
"""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy.orm import Session

from bot.desk import agents, api
from bot.desk.events import Reader
from bot.desk.render import page
from bot.desk.web import SupervisorsOnly, Writer, times_of
from bot.desk.wording import language_of, said, words
from bot.domain.errors import BadInput, Conflict, NotFound
from bot.services import Services
from bot.store.tables import Agent

BOARDS = ("reports", "rules", "people", "promises", "settings", "audit")


def supervisor_of(reader: Reader) -> api.Caller:
    """A logged-in supervisor. Raises NotLoggedIn or NotAllowed."""
    return _checked(reader)


def supervising_of(writer: Writer) -> api.Caller:
    """A supervisor who sends a form of ours. Raises NotLoggedIn or NotAllowed."""
    return _checked(writer)


def _checked(caller: api.Caller) -> api.Caller:
    if caller.agent.role != "supervisor":
        raise SupervisorsOnly("Only supervisors may do this.")
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
