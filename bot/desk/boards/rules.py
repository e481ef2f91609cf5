"""The board of tags and rules: written as a draft, tried on past messages, then put live."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, Path, Request, Response

from bot.channels.web import Shared
from bot.desk import rules, teams
from bot.desk.api import Caller
from bot.desk.boards.base import Supervising, Supervisor, done, show
from bot.desk.web import Page
from bot.domain.errors import BadInput
from bot.domain.words import Channel, Topic
from bot.services import Services

router = APIRouter(prefix="/desk/rules", route_class=Page, include_in_schema=False)
Id = Annotated[int, Path(ge=1, le=2**31 - 1)]
Text = Annotated[str, Form(max_length=8_000)]


@router.get("")
def board(request: Request, caller: Supervisor, services: Shared) -> Response:
    """Every rule and tag."""
    return _board(request, services, caller)


@router.get("/new")
def new(request: Request, caller: Supervisor, services: Shared) -> Response:
    """An empty rule."""
    return _form(request, services, caller, None, rules.Draft())


@router.get("/{rule_id}")
def edit(rule_id: Id, request: Request, caller: Supervisor, services: Shared) -> Response:
    """A rule to change."""
    with services.store.read() as session:
        draft = rules.draft_of(session, rule_id)
    return _form(request, services, caller, rule_id, draft)


@router.post("/save")
def save(
    request: Request,
    caller: Supervising,
    services: Shared,
    verb: Annotated[Literal["try", "draft", "live"], Form()],
    name: Text = "",
    phrases: Text = "",
    topics: Annotated[list[str], Form()] = [],  # noqa: B006 (FastAPI copies it)
    channel: Text = "",
    tag: Text = "",
    priority: Text = "",
    team: Text = "",
    rule: Annotated[int | None, Form()] = None,
    tried: Text = "",
) -> Response:
    """Tries a rule, keeps it as a draft, or puts it live: only what was tried as it is goes live."""
    draft = rules.Draft(
        name,
        tuple(line.strip() for line in phrases.splitlines() if line.strip()),
        tuple(topics),
        channel,
        tag,
        int(priority) if priority in ("0", "1", "2", "3") else None,
        int(team) if team.isascii() and team.isdigit() and len(team) < 10 else None,
    )
    if verb == "try" or (verb == "live" and tried != draft.digest):
        return _form(request, services, caller, rule, draft, is_tried=True)
    now = services.clock()
    return done(
        services,
        caller,
        lambda session, agent: rules.save(session, agent, draft, now, rule, live=verb == "live"),
        f"/desk/rules?done={'live' if verb == 'live' else 'saved'}",
        lambda problem, status: _form(request, services, caller, rule, draft, problem=problem, status=status),
    )


@router.post("/{rule_id}/{verb}")
def change(
    rule_id: Id, verb: Literal["stop", "retire"], request: Request, caller: Supervising, services: Shared
) -> Response:
    """Makes it a draft again, or puts it away."""
    act = rules.stop if verb == "stop" else rules.retire
    return done(
        services,
        caller,
        lambda session, agent: act(session, agent, rule_id, services.clock()),
        "/desk/rules?done=saved",
        lambda problem, status: _board(request, services, caller, problem, status),
    )


@router.post("/tags")
def add_tag(request: Request, caller: Supervising, services: Shared, name: Text = "") -> Response:
    """A new tag."""
    return done(
        services,
        caller,
        lambda session, agent: rules.add_tag(session, agent, name, services.clock()),
        "/desk/rules?done=saved#tags",
        lambda problem, status: _board(request, services, caller, problem, status),
    )


@router.post("/tags/{tag_id}/retire")
def retire_tag(tag_id: Id, request: Request, caller: Supervising, services: Shared) -> Response:
    """Puts a tag away."""
    return done(
        services,
        caller,
        lambda session, agent: rules.retire_tag(session, agent, tag_id, services.clock()),
        "/desk/rules?done=saved#tags",
        lambda problem, status: _board(request, services, caller, problem, status),
    )


def _board(
    request: Request, services: Services, caller: Caller, problem: str = "", status: int = 200
) -> Response:
    with services.store.read() as session:
        listed = [(rule.id, rules.as_dict(session, rule)) for rule in rules.listed(session)]
        tags = rules.tags(session)
    return show(request, services, caller, "rules", status, problem=problem, rules=listed, tags=tags)


def _form(
    request: Request,
    services: Services,
    caller: Caller,
    rule_id: int | None,
    draft: rules.Draft,
    is_tried: bool = False,
    problem: str = "",
    status: int = 200,
) -> Response:
    trial: rules.Trial | None = None
    with services.store.read() as session:
        if is_tried:
            try:
                trial = rules.attempt(session, draft)
            except BadInput as error:
                problem, status = str(error), 422
        shown: dict[str, Any] = {
            "tags": rules.tags(session),
            "teams": teams.listed(session),
            "channels": list(Channel),
            "topics": list(Topic),
        }
    return show(
        request, services, caller, "rule_form", status, problem=problem, rule_id=rule_id, draft=draft,
        trial=trial, **shown,
    )  # fmt: skip
