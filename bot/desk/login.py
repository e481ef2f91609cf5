"""Logging in and out."""

import re
from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from bot.channels.web import Shared
from bot.desk import agents, api, presence
from bot.desk.render import page
from bot.desk.web import SAME_SITE, Page, Writer, times_of
from bot.desk.words import chosen, said
from bot.domain.errors import NotLoggedIn
from bot.services import Services

LOCAL = re.compile(r"/desk(/conversations/\d{1,10})?(\?view=[a-z]{1,10})?")  # where a log-in may lead
router = APIRouter(prefix="/desk", route_class=Page, include_in_schema=False)


@router.get("/login")
def login_page(request: Request, services: Shared) -> Response:
    """The log-in page; `next` says where one wanted to go."""
    return _login(request, services, request.query_params.get("next", ""))


@router.post("/login", dependencies=SAME_SITE)
def login(
    request: Request,
    services: Shared,
    email: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
    next_path: Annotated[str, Form(alias="next")] = "",
) -> Response:
    """Opens a session, or says why not: 401, or 429 after too many wrong tries."""
    try:
        token = api.log_in(services, email, password, request)
    except (agents.TooManyLogins, NotLoggedIn) as error:
        status = 429 if isinstance(error, agents.TooManyLogins) else 401
        return _login(request, services, next_path, email, error, status)
    response = RedirectResponse(_local(next_path), 303)
    response.set_cookie(
        api.COOKIE,
        token,
        max_age=int(agents.SESSION_AGE.total_seconds()),
        httponly=True,
        samesite="lax",
        secure=services.settings.secure_cookies,
    )
    return response


@router.post("/logout")
def logout(writer: Writer, services: Shared) -> Response:
    """Ends the session; its open pages notice."""
    with services.store.unit_of_work() as session:
        agents.close_session(session, writer.token)
        presence.logged_out(session, writer.agent.id, services.clock())
    response = RedirectResponse("/desk/login", 303)
    response.delete_cookie(api.COOKIE)
    return response


def _login(
    request: Request,
    services: Services,
    next_path: str,
    email: str = "",
    problem: agents.TooManyLogins | NotLoggedIn | None = None,
    status: int = 200,
) -> Response:
    language = chosen(None, request.headers.get("accept-language", ""))
    return page(
        "login.html",
        times_of(services, language),
        status,
        next_path=_local(next_path),
        email=email[:320],
        problem=said(problem, language) if problem else "",
        shop=services.settings.shop_name,
    )


def _local(path: str) -> str:
    return path if LOCAL.fullmatch(path) else "/desk"
