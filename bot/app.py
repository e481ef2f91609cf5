"""The bot process: everything is wired together here, and nowhere else."""

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.middleware.cors import CORSMiddleware

from bot import accounts, courtesy, delivery, feedback, inbox, operations, retention, turns
from bot.bell import Bell
from bot.brain import Brain, Rasa
from bot.channels import web, webhooks
from bot.channels.graph import Graph
from bot.desk import (
    agents,
    api,
    boards,
    care_pages,
    dead_letters,
    events,
    letters,
    login,
    nothing,
    pages,
    profile,
    promises,
    replies,
    routing,
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
from bot.look import look
from bot.middleware import Guard
from bot.services import Services, utc_now
from bot.settings import ROOT, Settings
from bot.store.engine import Store
from bot.store.news import News, Work
from bot.widget import routes as widget
from bot.wire import Wire

POLL = 0.5  # seconds between two looks for what nobody rang for: a process that died
STOP_SECONDS = 5.0  # for the steps in hand when the process ends
IDLE_POLL = 30.0  # seconds between two looks for conversations that ended by silence
CARE_POLL = 1.0  # seconds between two looks for promises to make and conversations to give away
SETTINGS_POLL = 5.0  # seconds until a setting changed elsewhere is read
READY_POLL = 0.3
Step = Callable[[], Awaitable[bool]]  # does one piece of work; says whether to look again at once
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
    brain = brain or Rasa(settings.rasa_urls, settings.brain_patience, ROOT / "domain.yml")
    services = Services(settings, store, brain, hub)
    jobs = Jobs(hub)
    store.on_events(hub.hand)
    store.on_news(jobs.hear_ours)
    wire = Wire(settings.redis_url, jobs.hear) if settings.redis_url else None
    if wire:
        store.on_news(wire.tell)
    services.runtime.reload()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        graph = Graph(settings.messenger)
        beside = [asyncio.create_task(hub.run())]
        if wire:
            beside.append(asyncio.create_task(wire.run()))
        async with jobs.running(services, graph):
            yield
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
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
    app.router.routes.extend([*web.ROUTES, webhooks.ROUTE])
    for router in (
        web.router,
        webhooks.router,
        api.router,
        events.router,
        care_pages.router,
        *(board.router for board in (boards.rules, boards.people, boards.promises)),
        *(board.router for board in (boards.reports, boards.settings, boards.audit)),
        pages.router,
        profile.router,
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


class Server(uvicorn.Server):
    """Serves the application; when it ends, so do the streams that are open."""

    def __init__(self, config: uvicorn.Config, hub: Hub) -> None:
        super().__init__(config)
        self._hub = hub

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Also tells the garbage collector that what is here now stays."""
        await super().startup(sockets)
        gc.freeze()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Waits for the requests in hand; a stream would never end by itself."""
        self._hub.close()
        await super().shutdown(sockets)


class Jobs:
    """What runs beside the server: filing, turns, delivery, and closing what fell silent.

    A commit tells what it leaves to do (`bot.store.news`), and one worker of that kind looks; one that
    finds something sends a colleague to look for more.
    """

    def __init__(self, hub: Hub) -> None:
        self._bells: dict[Work, Bell] = {work: Bell() for work in Work if work is not Work.LIVE}
        self._hub = hub
        self._brain_ready = False
        self._people = True  # wait or are at work, as far as we know
        self._stopping = False

    def hear_ours(self, told: frozenset[News]) -> None:
        """As `hear`; the hub is handed our own events."""
        self.hear(frozenset(news for news in told if news.work is not Work.LIVE))

    def hear(self, told: frozenset[News]) -> None:
        """Wakes whom it concerns, when it is due. Safe from any thread."""
        for news in told:
            if news.work is Work.LIVE:
                self._hub.wake()
                continue
            delay = (news.at - utc_now()).total_seconds() if news.at else 0
            self._bells[news.work].ring(delay)

    @asynccontextmanager
    async def running(self, services: Services, graph: Graph) -> AsyncIterator[None]:
        """Runs every job; at the end lets each finish the step in hand."""
        bells, crew = self._bells, services.settings.workers
        courier = delivery.Courier(services, graph, crew)
        steps: list[tuple[Step, Bell, int, float | None]] = [
            (self._looking(services), Bell(), 1, POLL),
            (self._filing(services), bells[Work.INBOX], 1, None),
            (self._turns(services, courier), bells[Work.TURN], crew, None),
            (self._sending(services, graph), bells[Work.OUTBOX], crew, None),
            (lambda: courtesy.greet(services, graph), bells[Work.GUEST], crew, None),
            (self._being_kind(services, graph), bells[Work.COURTESY], 1, None),
            (self._asking(services, graph), Bell(), 1, CARE_POLL),
            (self._care(services), Bell(), 1, CARE_POLL),
            (self._settings(services), Bell(), 1, SETTINGS_POLL),
            (self._closing(services), Bell(), 1, IDLE_POLL),
            (self._sweeping(services), Bell(), 1, IDLE_POLL),
        ]
        for _, bell, _, _ in steps:
            bell.hang()
        watch = asyncio.create_task(self._watch_brain(services))
        tasks = [
            asyncio.create_task(self._repeat(step, bell, services.intake))
            for step, bell, count, _ in steps
            for _ in range(count)
        ]
        polls = [asyncio.create_task(self._poll(bell, pause)) for _, bell, _, pause in steps if pause]
        yield
        self._stopping = True
        watch.cancel()
        for poll in polls:
            poll.cancel()
        for _, bell, count, _ in steps:
            for _ in range(count):
                bell.ring()
        _done, late = await asyncio.wait([watch, *tasks, *polls], timeout=STOP_SECONDS)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)  # each gives back what it has in hand
        await courier.rest(STOP_SECONDS)

    async def _poll(self, bell: Bell, pause: float) -> None:
        while True:
            bell.ring()
            await asyncio.sleep(pause)

    def _looking(self, services: Services) -> Step:
        """Rings for whoever may have something to do that nobody rang for."""

        async def step() -> bool:
            seen = await run_in_threadpool(look, services.store, services.clock())
            for work in seen.work:
                self._bells[work].ring()
            self._hub.seen(seen.newest_event)
            self._people = seen.people
            return False

        return step

    def _filing(self, services: Services) -> Step:
        async def step() -> bool:
            settings = services.settings
            return bool(
                await run_in_threadpool(
                    inbox.file_all, services.store, services.clock(), settings.burst, settings.idle
                )
            )

        return step

    def _turns(self, services: Services, courier: delivery.Courier) -> Step:
        async def step() -> bool:
            if self._brain_ready:
                await turns.work(services, self._bells[Work.TURN].ring, courier)
            return False  # who found something has sent a colleague to look further

        return step

    def _sending(self, services: Services, graph: Graph) -> Step:
        async def step() -> bool:
            await delivery.deliver(services, graph, self._bells[Work.OUTBOX].ring)
            return False

        return step

    def _being_kind(self, services: Services, graph: Graph) -> Step:
        async def step() -> bool:
            noticed = await courtesy.notice(services, graph)
            return await courtesy.ask_name(services, graph) or noticed

        return step

    def _asking(self, services: Services, graph: Graph) -> Step:
        async def step() -> bool:
            return bool(services.care.privacy_url) and await feedback.ask(services, graph)

        return step

    def _closing(self, services: Services) -> Step:
        async def step() -> bool:
            idle = services.settings.idle
            closed = await run_in_threadpool(inbox.close_idle, services.store, services.clock(), idle)
            lost = await run_in_threadpool(dead_letters.hand_over_unsettled, services.store, services.clock())
            woken = await run_in_threadpool(snoozing.wake_due, services.store, services.clock())
            return bool(closed or lost or woken)

        return step

    def _sweeping(self, services: Services) -> Step:
        sweep = retention.Sweep(services.store, services.clock)
        return lambda: run_in_threadpool(sweep.step)

    def _care(self, services: Services) -> Step:
        async def step() -> bool:
            if not self._people:
                return False
            promised = await run_in_threadpool(promises.tend, services)
            moved = await run_in_threadpool(routing.work, services)
            return bool(promised or moved)

        return step

    def _settings(self, services: Services) -> Step:
        """What a supervisor changed in another process holds here, too."""

        async def step() -> bool:
            await run_in_threadpool(services.runtime.reload)
            return False

        return step

    async def _repeat(self, step: Step, bell: Bell, intake: inbox.Intake) -> None:
        """Works while there is work, then until the bell rings. A step that fails is tried again."""
        while not self._stopping:
            await intake.calm()
            try:
                busy = await step()
            except Exception:
                log.exception("job.failed")
                await asyncio.sleep(1)
                busy = False
            if not busy and not self._stopping:
                await bell.wait()

    async def _watch_brain(self, services: Services) -> None:
        """Turns wait while Rasa starts; if it never does, they go to people as an outage."""
        started = services.clock()
        while not await services.brain.is_ready():
            if services.clock() - started > services.settings.brain_start:
                log.error("brain.never_ready")
                break
            await asyncio.sleep(READY_POLL)
        self._brain_ready = True
        self._bells[Work.TURN].ring()
        log.info("brain.ready")


async def _healthz() -> dict[str, str]:
    """Up: the process serves."""
    return {"status": "up"}


async def _readyz(request: Request) -> Response:
    """Ready: the database answers and so does the brain."""
    services: Services = request.app.state.services
    troubles = await run_in_threadpool(_troubles, services)  # or StoreDown, which is a 503 too
    ready = await services.brain.is_ready()
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
