"""The last route of the desk: a page for what is no page."""

from fastapi import APIRouter, Response

from bot.desk.events import Reader
from bot.desk.web import Page
from bot.domain.errors import NotFound

router = APIRouter(prefix="/desk", route_class=Page, include_in_schema=False)


@router.get("/{_rest:path}")
def nothing_here(_reader: Reader) -> Response:
    """A page for what is no page."""
    raise NotFound("There is no such page.")
