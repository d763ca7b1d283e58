"""What a field can reach: the database, this operation's loaders, who is calling, refreshes."""

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
from resolvers.cache_dependencies import Footprint
from resolvers.data_extent import Kept
from resolvers.live.price_updates import PriceUpdates
from resolvers.live.run_watcher import RunWatcher
from resolvers.loaders import Loaders
from schema.cost import Cost
from schema.refresh_service import Plans, RefreshService


class Access(Enum):
    """Whether the caller may do something, and why not. The values are for the log."""

    GRANTED = "granted"
    MISSING_TOKEN = "no token"  # noqa: S105 - not a password
    WRONG_TOKEN = "wrong token"  # noqa: S105 - not a password
    READ_ONLY = "read token"
    NOT_SET_UP = "REFRESH_TOKENS is not set"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling. `address` is the client's, for the log.

    `name` is the same for all who share their place in queues: of IPv6, a network.
    """

    address: str
    read: Access
    refresh: Access
    name: str = ""


@dataclass(frozen=True, slots=True)
class Services:
    """What lives as long as the process."""

    database: Database
    refresher: RefreshService
    stale_after: timedelta
    updates: PriceUpdates
    runs: RunWatcher
    memory: SeriesCache | None = None
    kept: Kept | None = None  # without it, costs are not reckoned
    tracked: TrackingScope | None = None  # what the settings ask for


@dataclass(slots=True)
class Context:
    """What lives as long as one operation."""

    services: Services
    caller: Caller
    encoded: bool = False  # whether the transport takes lists as JSON that is already written
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    footprint: Footprint = field(default_factory=Footprint)
    loaders: Loaders = field(init=False)
    _plans: Plans | None = None
    # takes an operation's cost from the caller's account; raises RateLimitedError
    charge: Callable[[int], Awaitable[None]] | None = None
    cost: Cost | None = None  # known once the operation is valid
    deadline: asyncio.Timeout | None = None  # of the operation, while it is executed

    def __post_init__(self) -> None:
        services = self.services
        self.loaders = Loaders(
            services.database, self.now, self.footprint, services.memory, self.tracked
        )

    @property
    def plans(self) -> Plans:
        """What refreshes would do, each planned once."""
        if self._plans is None:
            self._plans = Plans(self.services.refresher)
        return self._plans

    @property
    def database(self) -> Database:
        return self.services.database

    @property
    def tracked(self) -> TrackingScope | None:
        """What the settings ask for, None where nothing is refreshed."""
        return self.services.tracked

    @asynccontextmanager
    async def unhurried(self) -> AsyncIterator[None]:
        """Wait for what takes its time; afterwards the operation has as long as before."""
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
