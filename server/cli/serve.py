"""`coingraph serve`: runs the server in this process or in workers."""

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import structlog
from pydantic import HttpUrl

from models.postgres.database import DatabaseUnavailableError, WrongPasswordError
from server.access import file_limit
from server.app import create_app
from server.bootstrap.database import make_database, prepare_database
from server.bootstrap.factories import make_upstream, upstream_url
from server.cli.startup import (
    CommandError,
    database_errors,
    one_line_errors,
    opened,
    read_settings,
    with_token,
)
from server.config.outbound import outbound_for
from server.config.settings import Settings
from server.postgres.embedded import EmbeddedPostgres, EmbeddedPostgresError
from server.process.listeners import ListenError, open_listeners, url_of
from server.process.server import Server, Signals, loop_factory
from server.process.supervisor import WorkersFailedError, WorkerSupervisor
from simulator import run_simulator

log = structlog.get_logger("coingraph.server")

_WATCH_SECONDS = 1.0
_DEMO_REQUESTS_PER_MINUTE = 600_000.0


def serve(*, demo: bool, **given: Any) -> int:  # noqa: ANN401 - the fields of Settings
    """Serve until a signal arrives; return the exit status."""
    signals = Signals()
    with (
        one_line_errors(),
        signals.handling(),
        contextlib.ExitStack() as stack,
    ):
        settings = read_settings(**given)
        if settings.workers > 1 and sys.platform == "win32":
            raise CommandError("WORKERS: on Windows only 1 is possible.")
        file_limit.raise_limit(settings.max_connections_per_address)
        try:
            listeners = open_listeners(settings.host, settings.port)
        except ListenError as error:
            raise CommandError(str(error)) from None
        for listener in listeners:
            stack.callback(listener.close)
        if demo:
            settings = stack.enter_context(_demo(settings))
        _check_outbound(settings)
        own_database = settings.database_url is None
        settings, embedded = stack.enter_context(opened(settings))
        if own_database:
            settings = with_token(settings)
        several = settings.workers > 1
        # uvloop is faster, but cannot start children in their own process group
        with asyncio.Runner(loop_factory=None if several else loop_factory()) as runner:
            run = _serve_by_workers if several else _serve
            runner.run(run(settings, listeners, embedded, signals))
    return 0


@contextlib.contextmanager
def _demo(settings: Settings) -> Iterator[Settings]:
    """Use the simulator as upstream, with a separate database."""
    with run_simulator() as simulator:
        yield settings.model_copy(
            update={
                "database_url": None,
                "database_url_file": None,
                "database_password": None,
                "database_password_file": None,
                "data_dir": settings.data_dir / "demo",
                "coingecko_base_url": HttpUrl(simulator.base_url),
                "coingecko_plan": "keyless",
                "coingecko_api_key": None,
                "coingecko_monthly_credits": None,
                "coingecko_requests_per_minute": _DEMO_REQUESTS_PER_MINUTE,
            }
        )


def _check_outbound(settings: Settings) -> None:
    """Log a warning if CoinGecko cannot be reached. Stored prices are served regardless."""
    if fault := outbound_for(upstream_url(settings)).fault:
        log.warning("CoinGecko cannot be reached", reason=fault)


async def _serve(
    settings: Settings,
    listeners: Sequence[socket.socket],
    embedded: EmbeddedPostgres | None,
    signals: Signals,
) -> None:
    await _check_database(settings)
    app = create_app(settings)
    _announce(settings, listeners)
    async with _watched(embedded):
        await Server(app, signals).serve(sockets=list(listeners))


async def _serve_by_workers(
    settings: Settings,
    listeners: Sequence[socket.socket],
    embedded: EmbeddedPostgres | None,
    signals: Signals,
) -> None:
    await _check_database(settings)
    make_upstream(settings, make_database(settings))  # raises here what would fail in each worker
    _announce(settings, listeners, workers=settings.workers)
    async with _watched(embedded):
        try:
            await WorkerSupervisor(settings, listeners, embedded, signals).run()
        except WorkersFailedError as error:
            raise CommandError(str(error)) from None


def _announce(settings: Settings, listeners: Sequence[socket.socket], **more: int) -> None:
    log.info("serving", url=f"{url_of(settings.host, listeners)}/graphql", **more)


async def _check_database(settings: Settings) -> None:
    """Raise CommandError for errors of the database that need a person.

    An unavailable database may come back, and a password in a file may change: both pass.
    """
    database = make_database(settings)
    rotated = settings.database_password_file or settings.database_url_file
    try:
        with database_errors(), contextlib.suppress(*([WrongPasswordError] if rotated else [])):
            await prepare_database(settings, database)
    except DatabaseUnavailableError:
        pass  # the application waits for it and logs that
    finally:
        await database.close()


@contextlib.asynccontextmanager
async def _watched(embedded: EmbeddedPostgres | None) -> AsyncIterator[None]:
    """Restart the embedded database if its supervisor is killed."""

    async def watch(database: EmbeddedPostgres) -> None:
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            if not await asyncio.to_thread(database.alive):
                try:
                    await asyncio.to_thread(database.start)
                except EmbeddedPostgresError as error:
                    log.error("the embedded database cannot be restarted", error=str(error))  # noqa: TRY400 - retried

    task = asyncio.create_task(watch(embedded)) if embedded else None
    try:
        yield
    finally:
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
