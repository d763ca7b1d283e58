"""The context of resolvers: services, caller, loaders and cache dependencies."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum

import strawberry

from models.history import TrackingScope
from models.postgres.database import Database
from models.prices.series_cache import SeriesCache
from resolvers.cache_dependencies import CacheDependencies
from resolvers.data_extent import DataExtent
from resolvers.live.price_updates import PriceUpdates
from resolvers.live.run_watcher import RunWatcher
from resolvers.loaders import Loaders
from schema.cost import Cost
from schema.refresh_service import RefreshPlanCache, RefreshService


class Access(Enum):
    """Whether the caller may do something, and if not, why. The values are logged."""

    GRANTED = "granted"
    MISSING_TOKEN = "no token"  # noqa: S105 - not a password
    WRONG_TOKEN = "wrong token"  # noqa: S105 - not a password
    READ_ONLY = "read token"
    NOT_SET_UP = "REFRESH_TOKENS is not set"


@dataclass(frozen=True, slots=True)
class Caller:
    """The client that sent the operation. `address` is for the log.

    `name` identifies its place in queues. All addresses of an IPv6 network share one name.
    """

    address: str
    read: Access
    refresh: Access
    name: str = ""


@dataclass(frozen=True, slots=True)
class Services:
    """The objects that live as long as the process.

    Costs are not computed without `extent`. `tracked` holds the configured coins and currencies,
    None if this server does not refresh.
    """

    database: Database
    refresher: RefreshService
    stale_after: timedelta
    updates: PriceUpdates
    runs: RunWatcher
    series_cache: SeriesCache | None = None
    extent: DataExtent | None = None
    tracked: TrackingScope | None = None


@dataclass(slots=True)
class Context:
    """The objects that live as long as one operation.

    `encoded` is True if the transport accepts lists that are already encoded as JSON. `charge`
    deducts a cost from the caller's rate limit and raises RateLimitedError. `cost` is set once the
    operation is valid, `deadline` while it is executed.
    """

    services: Services
    caller: Caller
    encoded: bool = False
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    dependencies: CacheDependencies = field(default_factory=CacheDependencies)
    loaders: Loaders = field(init=False)
    _refresh_plans: RefreshPlanCache | None = None
    charge: Callable[[int], Awaitable[None]] | None = None
    cost: Cost | None = None
    deadline: asyncio.Timeout | None = None

    def __post_init__(self) -> None:
        services = self.services
        self.loaders = Loaders(
            services.database, self.now, self.dependencies, services.series_cache, self.tracked
        )

    @property
    def refresh_plans(self) -> RefreshPlanCache:
        """The refresh plans of this operation, each computed once."""
        if self._refresh_plans is None:
            self._refresh_plans = RefreshPlanCache(self.services.refresher)
        return self._refresh_plans

    @property
    def database(self) -> Database:
        """The database, shared by the whole process."""
        return self.services.database

    @property
    def tracked(self) -> TrackingScope | None:
        """The configured coins and currencies; None if this server does not refresh."""
        return self.services.tracked

    @asynccontextmanager
    async def deadline_paused(self) -> AsyncIterator[None]:
        """Exclude the block from the operation's time limit."""
        deadline, loop = self.deadline, asyncio.get_running_loop()
        end = None if deadline is None else deadline.when()
        if deadline is None or end is None:
            yield
            return
        begun = loop.time()
        deadline.reschedule(None)
        try:
            yield
        finally:
            deadline.reschedule(end + loop.time() - begun)


Info = strawberry.Info[Context, None]
