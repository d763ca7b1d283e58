"""The application: the only place that wires all components together."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from ipaddress import ip_network

import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.routing import Mount, Route, WebSocketRoute

from models.postgres.circuit_breaker import reason_of
from models.postgres.database import DatabaseUnavailableError
from models.postgres.notifications import Listener
from models.prices.series_cache import SeriesCache
from models.removal import tracking_mark
from resolvers.data_extent import read_data_extent
from resolvers.live.price_updates import PriceUpdates
from resolvers.live.run_watcher import RunWatcher
from schema import build_schema
from schema.context import Services
from server.access.connection_limits import ConnectionLimits
from server.access.file_limit import room_for_connections
from server.access.tokens import Authenticator
from server.bootstrap.database import make_database, pool_size, prepare_database
from server.bootstrap.factories import make_rates, make_refresher, make_upstream
from server.bootstrap.refresh_service import IngestionRefreshService
from server.config.settings import Settings
from server.endpoint import GraphQLEndpoint
from server.graphql.admission import Admission
from server.graphql.request_parsing import RequestRules
from server.graphql.response import CachePolicy
from server.graphql.response_cache import ResponseCache
from server.http.cross_origin import Origins
from server.http.health import Readiness, live
from server.http.middleware import error_handlers, middleware
from server.leader.election import LeaderElection
from server.leader.tasks import LeaderTasks
from server.pages.graphiql import GRAPHIQL_PATH, graphiql_files
from server.streams.endpoint import StreamSettings
from server.transport.backlog import BacklogBudget

log = structlog.get_logger("coingraph.server")

_RETRY_SECONDS = 2.0
_MEGABYTE = 1_000_000


class Application:
    """All components that live as long as the server. `settings` must have a `database_url`.

    `leads`: this process takes part in the leader election; True for one worker of each server.
    """

    def __init__(self, settings: Settings, *, leads: bool = True) -> None:
        if settings.database_url is None:
            raise ValueError("create_app needs a database_url; coingraph serve embeds one")
        self.settings = settings
        self._leads = leads
        self.database = make_database(
            settings,
            pool_size=pool_size(settings.workers, settings.database_pool_size),
            # the operation times out first, with its own error
            read_seconds=settings.operation_timeout.total_seconds() + 1,
        )
        self.upstream = make_upstream(settings, self.database)
        self.refresher = make_refresher(settings, self.database, self.upstream)
        self.listener = Listener(self.database, tracking_mark(settings.coins))
        room = settings.cache_megabytes * _MEGABYTE
        self.series_cache = SeriesCache(room // 4, self.listener)
        self.cache = ResponseCache(room - room // 4, self.listener)
        self.listener.subscribe(self.series_cache)
        self.listener.subscribe(self.cache)
        self.updates = PriceUpdates(self.database, self.listener)
        self.listener.subscribe(self.updates)
        self.runs = RunWatcher(self.database, self.refresher.mark_interrupted_runs)
        self.listener.subscribe(self.runs)
        proxies = [ip_network(each) for each in settings.trusted_proxies]
        self.connection_limits = ConnectionLimits(
            settings.max_connections_per_address, proxies, room_for_connections()
        )
        self.backlog_budget = BacklogBudget(proxies)
        self.admission = Admission(
            Authenticator(settings.refresh_tokens, settings.read_tokens), make_rates(settings)
        )
        self.origins = Origins(settings.cors_origins)
        self.endpoint = self._make_endpoint()
        self._prepared = asyncio.Event()
        self._seeded = False
        self._leading: asyncio.Task[None] | None = None
        tasks = LeaderTasks(settings, self.database, self.upstream, self.refresher)
        self.election = LeaderElection(self.database, tasks.run)
        self.readiness = Readiness(self.database, lambda: self.admission.services is not None)

    def _make_endpoint(self) -> GraphQLEndpoint:
        settings = self.settings
        return GraphQLEndpoint(
            build_schema(settings.limits),
            self.admission,
            self.cache,
            CachePolicy(
                int(settings.cache_max_age.total_seconds()),
                int(settings.cache_stale_while_revalidate.total_seconds()),
            ),
            StreamSettings(self.origins, settings.operations_per_connection),
            RequestRules(largest_body=settings.max_body_bytes, origins=self.origins),
        )

    @contextlib.asynccontextmanager
    async def lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        """Start the background tasks and stop them at the end."""
        async with self.upstream:
            start = asyncio.create_task(self._start())
            leading = self._leading = asyncio.create_task(self._lead())
            background = [
                leading,
                asyncio.create_task(self._listen()),
                asyncio.create_task(self._seed_later()),
                asyncio.create_task(self.updates.run()),
            ]
            try:
                # Usually done at once. While the database is unavailable, serve the rest.
                await asyncio.wait([start], timeout=_RETRY_SECONDS)
                if start.done():
                    start.result()
                else:
                    start.add_done_callback(_log_failure)
                yield
            finally:
                self.updates.close()
                for task in (start, *background):
                    task.cancel()
                await asyncio.wait([start, *background])
                await self.end_refreshes()
                if self.admission.rates is not None:
                    await self.admission.rates.close()
                await self.database.close()

    async def end_streams(self, seconds: float) -> None:
        """End all streams, within `seconds`, and reject new ones."""
        self.updates.close()
        await self.endpoint.streams.close(seconds)

    async def end_refreshes(self) -> None:
        """Stop the refresh of this process and start no further one."""
        if self._leading is not None:
            self._leading.cancel()
            await asyncio.wait([self._leading])
        await self.refresher.stop()

    async def _start(self) -> None:
        """Prepare the database, retrying until it is available; then admit operations."""
        while True:
            try:
                self._seeded = await prepare_database(self.settings, self.database)
                await self.refresher.mark_interrupted_runs_at_start()
                kept = await read_data_extent(
                    self.database, self.settings.history_days, datetime.now(UTC)
                )
                break
            except DatabaseUnavailableError as error:
                reason = reason_of(error)
                log.error("waiting for the database", error=str(error), reason=reason)  # noqa: TRY400 - no traceback: it is retried
                await asyncio.sleep(_RETRY_SECONDS)
        self._prepared.set()
        self.admission.services = Services(
            self.database,
            IngestionRefreshService(self.refresher),
            self.settings.stale_after,
            self.updates,
            self.runs,
            self.series_cache,
            kept,
            self.refresher.tracked,
        )
        if self._leads:
            await self.election.decided.wait()

    async def _seed_later(self) -> None:
        """Seed a database that was read-only at the start once it is writable."""
        await self._prepared.wait()
        while not self._seeded:
            await asyncio.sleep(_RETRY_SECONDS)
            with contextlib.suppress(DatabaseUnavailableError):
                self._seeded = await prepare_database(self.settings, self.database)

    async def _listen(self) -> None:
        """Listen for notifications once the database is prepared."""
        await self._prepared.wait()
        await self.listener.run()

    async def _lead(self) -> None:
        """Take part in the leader election once the database is prepared."""
        await self._prepared.wait()
        if self._leads:
            await self.election.run()


def _log_failure(start: asyncio.Task[None]) -> None:
    if not start.cancelled() and (error := start.exception()):
        log.error("the startup failed, operations stay unavailable", exc_info=error)


async def _start_page(request: Request) -> RedirectResponse:
    """Redirect to the API by a relative path, for proxies that strip a prefix silently."""
    root = request.scope["root_path"]
    return RedirectResponse(f"{root}/graphql" if root else "graphql")


def create_app(settings: Settings, *, leads: bool = True) -> Starlette:
    """Make the ASGI application. Its lifespan opens, migrates and seeds the database."""
    application = Application(settings, leads=leads)
    routes = [
        Route("/", _start_page),
        Route("/graphql", application.endpoint),  # it handles all methods itself
        WebSocketRoute("/graphql", application.endpoint),
        Route("/health/live", live),
        Route("/health/ready", application.readiness.handle),
        Mount(GRAPHIQL_PATH, graphiql_files(application.admission)),
    ]
    paths = [route.path for route in routes if isinstance(route, Route)]
    app = Starlette(
        routes=routes,
        middleware=middleware(settings, application.origins, application.endpoint, paths),
        exception_handlers=error_handlers(application.origins),
        lifespan=application.lifespan,
    )
    app.router.redirect_slashes = False  # a redirect would build an absolute URL from Host
    app.state.application = application
    return app
