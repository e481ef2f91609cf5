"""The bot process: everything is wired together here, and nowhere else."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.middleware.cors import CORSMiddleware

from bot import accounts, courtesy, delivery, inbox, live, operations, turns
from bot.bell import Bell
from bot.brain import Brain, Rasa
from bot.channels import web, webhooks
from bot.channels.graph import Graph
from bot.desk import (
    agents,
    api,
    dead_letters,
    events,
    letters,
    login,
    nothing,
    pages,
    people,
    replies,
    snoozing,
)
from bot.desk.render import static
from bot.domain.errors import (
    BadInput,
    Conflict,
    NotAllowed,
    NotFound,
    NotLoggedIn,
    ReplyTwiceError,
    StoreDown,
)
from bot.live import Hub
from bot.middleware import Guard
from bot.services import Services, utc_now
from bot.settings import ROOT, Settings
from bot.store.engine import Store
from bot.widget import routes as widget

POLL = 0.25  # seconds between two looks for due work; a new message wakes the workers at once
STOP_SECONDS = 5.0  # for the steps in hand when the process ends
IDLE_POLL = 30.0  # seconds between two looks for conversations that ended by silence
READY_POLL = 0.3
Step = Callable[[], Awaitable[bool]]  # does one piece of work; says whether there was any
STATUS: dict[type, int] = {
    BadInput: 422,
    NotAllowed: 403,
    NotLoggedIn: 401,
    agents.TooManyLogins: 429,
    NotFound: 404,
    Conflict: 409,
    StoreDown: 503,  # nothing was stored, so nothing is acknowledged: the caller tries again
    ReplyTwiceError: 500,
}
log = structlog.get_logger()


def build(settings: Settings, brain: Brain | None = None) -> FastAPI:
    """The application; tests bring a brain of their own.

    Raises SettingError if the database or Rasa's domain can't be read.
    """
    store = Store(settings.database_url)
    store.migrate()
    if store.is_sqlite:
        turns.release_all(store)
        delivery.release_all(store, utc_now())
    if settings.messenger.app_secret and not (settings.messenger.page_token or settings.messenger.tokens):
        log.warning("messenger.no_token", hint="answers are kept until MESSENGER_PAGE_TOKEN is set")
    hub = Hub(store)
    store.on_events(hub.wake)
    brain = brain or Rasa(settings.rasa_url, settings.brain_patience, ROOT / "domain.yml")
    jobs = Jobs()
    services = Services(settings, store, brain, hub, utc_now, jobs.bell.ring)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        graph = Graph(settings.messenger)
        live_events = asyncio.create_task(hub.run())
        async with jobs.running(services, graph):
            yield
        live_events.cancel()
        await brain.close()
        await graph.close()
        store.close()

    app = FastAPI(title="Reply Twice", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.services = services
    app.add_middleware(Guard)
    app.add_middleware(
        CORSMiddleware,  # the web chat is embedded in the shop's own pages; its token is no cookie
        allow_origins=list(settings.chat_origins) or ["*"],
        allow_methods=["GET", "POST"],
        allow_headers=["Authorization", "Content-Type", "Last-Event-ID"],
        expose_headers=["Retry-After"],
        max_age=600,
    )
    app.mount("/desk/static", static)
    for router in (
        web.router,
        webhooks.router,
        api.router,
        events.router,
        pages.router,
        people.router,
        replies.router,
        letters.router,
        login.router,
        nothing.router,
        operations.router,
        widget.router,
    ):
        app.include_router(router)
    for path, route in (("/healthz", _healthz), ("/readyz", _readyz)):
        app.add_api_route(path, route, tags=["operations"])
        app.add_api_route(path, route, methods=["HEAD"], include_in_schema=False)
    app.add_exception_handler(ReplyTwiceError, _our_error)
    app.add_exception_handler(RequestValidationError, _bad_request)
    return app


class Jobs:
    """What runs beside the server: filing, turns, delivery, and closing what fell silent."""

    def __init__(self) -> None:
        self.bell = Bell()
        self._brain_ready = False
        self._stopping = False

    @asynccontextmanager
    async def running(self, services: Services, graph: Graph) -> AsyncIterator[None]:
        """Runs every job; at the end lets each finish the step in hand."""
        self.bell.hang()
        watch = asyncio.create_task(self._watch_brain(services))
        workers = services.settings.workers
        steps = [
            (self._filing(services), 1),
            (self._turns(services), workers),
            (lambda: delivery.deliver(services, graph), workers),
            (lambda: courtesy.notice(services, graph), 1),
            (lambda: courtesy.ask_name(services, graph), 1),
        ]
        tasks = [asyncio.create_task(self._repeat(step)) for step, count in steps for _ in range(count)]
        tasks.append(asyncio.create_task(self._repeat(self._closing(services), IDLE_POLL)))
        yield
        self._stopping = True
        self.bell.ring()
        watch.cancel()
        _done, late = await asyncio.wait([watch, *tasks], timeout=STOP_SECONDS)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)  # each gives back what it has in hand

    def _filing(self, services: Services) -> Step:
        settings = services.settings

        async def step() -> bool:
            filed = await run_in_threadpool(
                inbox.file_all, services.store, services.clock(), settings.burst, settings.idle
            )
            if filed:
                self.bell.ring()
            return bool(filed)

        return step

    def _turns(self, services: Services) -> Step:
        async def step() -> bool:
            return self._brain_ready and await turns.work(services)

        return step

    def _closing(self, services: Services) -> Step:
        async def step() -> bool:
            idle = services.settings.idle
            closed = await run_in_threadpool(inbox.close_idle, services.store, services.clock(), idle)
            lost = await run_in_threadpool(dead_letters.hand_over_unsettled, services.store, services.clock())
            woken = await run_in_threadpool(snoozing.wake_due, services.store, services.clock())
            return bool(closed or lost or woken)

        return step

    async def _repeat(self, step: Step, pause: float = POLL) -> None:
        """Works while there is work, then until the bell rings. A step that fails is tried again."""
        while not self._stopping:
            try:
                busy = await step()
            except Exception:
                log.exception("job.failed")
                await asyncio.sleep(1)
                busy = False
            if not busy and not self._stopping:
                await self.bell.wait(pause)

    async def _watch_brain(self, services: Services) -> None:
        """Turns wait while Rasa starts; if it never does, they go to people as an outage."""
        started = services.clock()
        while not await services.brain.is_ready():
            if services.clock() - started > services.settings.brain_start:
                log.error("brain.never_ready")
                break
            await asyncio.sleep(READY_POLL)
        self._brain_ready = True
        self.bell.ring()
        log.info("brain.ready")


async def _healthz() -> dict[str, str]:
    """Up: the process serves."""
    return {"status": "up"}


async def _readyz(request: Request) -> Response:
    """Ready: the database answers and so does the brain."""
    services: Services = request.app.state.services
    await run_in_threadpool(live.newest, services.store)  # or StoreDown, which is a 503 too
    ready = await services.brain.is_ready()
    troubles = await run_in_threadpool(_troubles, services)
    return JSONResponse(
        {"ready": ready, "brain": ready, "accounts_in_trouble": troubles}, status_code=200 if ready else 503
    )


def _troubles(services: Services) -> dict[str, str]:
    """Each channel account in trouble. What it should send is kept, so the process is ready all the same."""
    with services.store.read() as session:
        return {alert.account: alert.trouble.value for alert in accounts.alerts(session)}


async def _our_error(_request: Request, error: Exception) -> Response:
    status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    if status >= 500:
        log.error("request.failed", error=str(error))
        return JSONResponse(
            {"detail": "Something is wrong on our side; try again."},
            status_code=status,
            headers={"Retry-After": "1"},
        )
    return JSONResponse({"detail": str(error)}, status_code=status)


async def _bad_request(_request: Request, error: Exception) -> Response:
    """What is wrong with which field; never the value itself, which may be a customer's."""
    problems = error.errors() if isinstance(error, RequestValidationError) else []
    detail = "; ".join(
        f"{'.'.join(str(part) for part in p['loc'][1:]) or 'body'}: {p['msg']}" for p in problems
    )
    return JSONResponse({"detail": detail}, status_code=422)
