"""Routes without FastAPI's dependencies, for what is called all the time; they answer as its routes do."""

from email.message import Message
from functools import lru_cache
from json import JSONDecodeError
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import Route

MISSING = {"type": "missing", "loc": ("body",), "msg": "Field required", "input": None}


def route(method: str, path: str, endpoint: Any) -> Route:
    """A route for one method: a GET's doesn't answer HEAD, either."""
    made = Route(path, endpoint, methods=[method])
    made.methods = {method}
    return made


async def body_of(request: Request) -> Any:
    """What was sent: JSON if it says so, else the bytes, none of them if nothing was.

    Raises RequestValidationError for broken JSON and HTTPException for what can't be read.
    """
    try:
        body = await request.body()
        if body and _is_json(request.headers.get("content-type", "")):
            return await request.json()
    except JSONDecodeError as error:
        place = {"type": "json_invalid", "loc": ("body", error.pos), "msg": "JSON decode error", "input": {}}
        raise RequestValidationError([place]) from error
    except HTTPException:
        raise
    except Exception as error:
        raise HTTPException(400, "There was an error parsing the body") from error
    return body


def checked[M: BaseModel](model: type[M], body: Any) -> M:
    """The body as a model. Raises RequestValidationError."""
    if body == b"":
        raise RequestValidationError([MISSING])
    try:
        return model.model_validate(body, from_attributes=True)
    except ValidationError as error:
        raise _refused("body", error) from None


def parameter[T](kind: TypeAdapter[T], request: Request, name: str) -> T | None:
    """A parameter of the address; None if it isn't there. Raises RequestValidationError."""
    given = request.query_params.get(name)
    if given is None:
        return None
    try:
        return kind.validate_python(given)
    except ValidationError as error:
        raise _refused("query", error, name) from None


def _refused(place: str, error: ValidationError, *way: str) -> RequestValidationError:
    found = error.errors(include_url=False)
    return RequestValidationError([{**one, "loc": (place, *way, *one["loc"])} for one in found])


@lru_cache(maxsize=64)
def _is_json(content_type: str) -> bool:
    if not content_type:
        return False
    message = Message()
    message["content-type"] = content_type
    kind = message.get_content_subtype()
    return message.get_content_maintype() == "application" and (kind == "json" or kind.endswith("+json"))
