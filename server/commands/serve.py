"""`coingraph serve`."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import structlog
import uvicorn
from pydantic import HttpUrl

from ingestion.errors import AccessRefused
from ingestion.simulator import run_simulator
from models.database import Database, DatabaseUnavailableError, UnsupportedServerError
from models.migrate import NewerDatabaseError
from server.app import Application, create_app, prepare_database
from server.commands.opening import CommandError, one_line_errors, opened, read_settings, with_token
from server.embedded import EmbeddedPostgres, EmbeddedPostgresError
from server.settings import Settings

log = structlog.get_logger("coingraph.server")

_GRACE_SECONDS = 10
_WATCH_SECONDS = 1.0
_DEMO_REQUESTS_PER_MINUTE = 600_000.0


class Signals:
    """What SIGTERM and SIGINT do before uvicorn takes them over, and after it has served."""

    def __init__(self) -> None:
        self.heard = False
        self.taken_over = False

    def hear(self, *_: object) -> None:
        self.heard = True
        if not self.taken_over:  # once it has, uvicorn raises the signal that stopped it again
            raise KeyboardInterrupt


class Server(uvicorn.Server):
    """uvicorn's server, which ends a refresh under way before it waits for requests."""

    def __init__(self, config: uvicorn.Config, application: Application, signals: Signals) -> None:
        super().__init__(config)
        self._application = application
        self._signals = signals

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        self._signals.taken_over = True
        await super().serve(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.should_exit = self.should_exit or self._signals.heard

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # first, because a request with `wait: true` ends with its run
        await self._application.refresher.interrupt()
        await super().shutdown(sockets)


def serve(*, demo: bool, **given: Any) -> int:  # noqa: ANN401 - the fields of Settings
    """Serve until told to stop; the exit status."""
    signals = Signals()
    with (
        contextlib.suppress(KeyboardInterrupt),  # what a signal during the start raises
        one_line_errors(),
        _signals_end_well(signals),
        contextlib.ExitStack() as stack,
    ):
        settings = read_settings(**given)
        listener = _listen(settings)
        stack.callback(listener.close)
        if demo:
            settings = stack.enter_context(_demo(settings))
        own_database = settings.database_url is None
        settings, embedded = stack.enter_context(opened(settings))
        if own_database:
            settings = with_token(settings)
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_serve(settings, listener, embedded, signals))
    return 0


def _listen(settings: Settings) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        address = (settings.host, settings.port)
        listener = socket.create_server(address, family=family, backlog=2048)
    except OSError as error:
        raise CommandError(
            f"{settings.host}:{settings.port} cannot be listened on: {error.strerror or error}. "
            "Choose another with --host and --port, or HOST and PORT."
        ) from None
    # asyncio sets it only on sockets it made itself; without it answers wait some 40 ms
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


@contextlib.contextmanager
def _demo(settings: Settings) -> Iterator[Settings]:
    """Take the simulator for upstream, and a database apart, so that nothing mixes."""
    with run_simulator() as simulator:
        yield settings.model_copy(
            update={
                "database_url": None,
                "data_dir": settings.data_dir / "demo",
                "coingecko_base_url": HttpUrl(simulator.base_url),
                "coingecko_plan": "keyless",
                "coingecko_api_key": None,
                "coingecko_requests_per_minute": _DEMO_REQUESTS_PER_MINUTE,
            }
        )


@contextlib.contextmanager
def _signals_end_well(signals: Signals) -> Iterator[None]:
    """Let SIGTERM and SIGINT end the start, too, and never what must be done at the end."""
    names = (signal.SIGTERM, signal.SIGINT)
    before = {name: signal.signal(name, signals.hear) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Choose uvloop where there is one: not on Windows, nor on PyPy."""
    return uvicorn.Config("unused", log_config=None).get_loop_factory()


async def _serve(
    settings: Settings,
    listener: socket.socket,
    embedded: EmbeddedPostgres | None,
    signals: Signals,
) -> None:
    await _check_database(settings)
    try:
        app = create_app(settings)
    except AccessRefused as error:
        raise CommandError(str(error)) from None
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    host, port = listener.getsockname()[:2]
    log.info("serving", url=f"http://{f'[{host}]' if ':' in host else host}:{port}/graphql")
    async with _watched(embedded):
        await Server(config, app.state.application, signals).serve(sockets=[listener])


async def _check_database(settings: Settings) -> None:
    """Say at once what will not mend itself. A database that is away may come back."""
    assert settings.database_url is not None  # noqa: S101 - `opened` gave one
    database = Database(settings.database_url.get_secret_value())
    try:
        await prepare_database(settings, database)
    except (UnsupportedServerError, NewerDatabaseError) as error:
        raise CommandError(f"DATABASE_URL: {error}") from None
    except DatabaseUnavailableError:
        pass  # the application waits for it, and says so
    finally:
        await database.close()


@contextlib.asynccontextmanager
async def _watched(embedded: EmbeddedPostgres | None) -> AsyncIterator[None]:
    """Start the embedded database again should its supervisor be killed."""

    async def watch(database: EmbeddedPostgres) -> None:
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            if not await asyncio.to_thread(database.alive):
                try:
                    await asyncio.to_thread(database.start)
                except EmbeddedPostgresError as error:
                    log.error("embedded database", error=str(error))  # noqa: TRY400 - retried

    task = asyncio.create_task(watch(embedded)) if embedded else None
    try:
        yield
    finally:
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
