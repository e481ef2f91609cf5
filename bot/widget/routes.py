"""The web chat's script, for any shop's page, and the demo shop that embeds it."""

from base64 import b64encode
from hashlib import sha256
from pathlib import Path

from fastapi import APIRouter, Request, Response

router = APIRouter(include_in_schema=False)

_HERE = Path(__file__).parent


class _Page:
    """A file, read once, that a browser asks for again only to learn that it is still the same."""

    def __init__(self, name: str, media_type: str, headers: dict[str, str]) -> None:
        self.body = (_HERE / name).read_bytes()
        self.media_type = media_type
        self.etag = f'"{sha256(self.body).hexdigest()[:32]}"'
        self.headers = headers | {"ETag": self.etag, "X-Content-Type-Options": "nosniff"}

    def answer(self, request: Request) -> Response:
        """200 with the file, or 304 if the browser has it (a proxy that zips makes the tag weak)."""
        known = request.headers.get("if-none-match", "").split(",")
        if self.etag in [tag.strip().removeprefix("W/") for tag in known]:
            return Response(status_code=304, headers=self.headers)
        return Response(self.body, headers=self.headers, media_type=self.media_type)


def _demo_policy(html: bytes) -> str:
    """Only this server, and the page's one <style> by its hash: what a careful shop would send."""
    style = html.split(b"<style>", 1)[1].split(b"</style>", 1)[0]
    allowed = b64encode(sha256(style).digest()).decode()
    return (
        f"default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'sha256-{allowed}'; "
        "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


_WIDGET = _Page(
    "reply-twice.js",
    "text/javascript; charset=utf-8",
    {
        # Five minutes: a shop's pages share it, and a mended widget is everywhere soon.
        "Cache-Control": "public, max-age=300",
        # Shops on other domains may load it, also from pages that isolate themselves (COEP).
        "Access-Control-Allow-Origin": "*",
        "Cross-Origin-Resource-Policy": "cross-origin",
    },
)
_DEMO = _Page("demo.html", "text/html; charset=utf-8", {"Cache-Control": "no-cache"})
_DEMO.headers["Content-Security-Policy"] = _demo_policy(_DEMO.body)


@router.api_route("/widget.js", methods=["GET", "HEAD"])
def widget(request: Request) -> Response:
    """The script that puts the chat on a page."""
    return _WIDGET.answer(request)


@router.api_route("/", methods=["GET", "HEAD"])
def demo(request: Request) -> Response:
    """The demo shop."""
    return _DEMO.answer(request)
