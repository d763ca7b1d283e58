"""Batched reads of one operation: a loader answers many keys with one or two statements."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import cached_property
from typing import Any, TypeVar, cast
from uuid import UUID

from strawberry.dataloader import DataLoader

from models import coins as coin_rows
from models import runs as run_rows
from models import series as series_rows
from models.coins import CoinMetadataFacts
from models.history import HOUR, TrackingScope, floor_hour
from models.postgres.database import Database
from models.prices.coverage import Coverage
from models.prices.series_cache import SeriesCache
from models.series import LatestFacts, SeriesKey
from models.tables import RefreshRunItem, Series
from resolvers.cache_dependencies import CacheDependencies
from resolvers.coverage import CoverageQuery, coverages
from resolvers.errors import NotFoundError
from resolvers.names import explain_missing
from resolvers.prices import PricePage, PriceQuery, price_series
from resolvers.scheduling.event_loop_turns import LoaderLoop

K = TypeVar("K")
T = TypeVar("T")


class Loaders:
    """The DataLoaders of one operation.

    They are created for each operation, so that no cached value is older than the operation.
    """

    def __init__(
        self,
        database: Database,
        now: datetime,
        dependencies: CacheDependencies,
        series_cache: SeriesCache | None = None,
        tracked: TrackingScope | None = None,
    ) -> None:
        self.now = now
        self._database = database
        self._dependencies = dependencies
        self._series_cache = series_cache
        self._tracked = tracked
        self._batches = set[asyncio.Task[object]]()

    @cached_property
    def metadata(self) -> DataLoader[str, CoinMetadataFacts | None]:
        """Metadata by coin id; None if it was not fetched yet."""
        return self._loader(self._metadata)

    @cached_property
    def latest(self) -> DataLoader[SeriesKey, LatestFacts]:
        """The latest price by series. NotFoundError for an unknown series."""
        return self._loader(self._latest)

    @cached_property
    def prices(self) -> DataLoader[PriceQuery, PricePage]:
        """Prices by series, range and columns; see `price_series`."""
        return self._loader(self._prices)

    @cached_property
    def coverage(self) -> DataLoader[CoverageQuery, Coverage]:
        """Coverage by series and range; see `coverages`."""
        return self._loader(self._coverage)

    @cached_property
    def run_items(self) -> DataLoader[UUID, list[tuple[RefreshRunItem, Series]]]:
        """The items of a run, by its id."""
        return self._loader(self._run_items)

    def cancel(self) -> None:
        """Cancel all reads in progress, including their SQL statements."""
        for batch in self._batches:
            batch.cancel()

    def _loader(self, load: Callable[[list[K]], Awaitable[list[Any]]]) -> DataLoader[K, Any]:
        loop = cast("asyncio.AbstractEventLoop", LoaderLoop())
        return DataLoader(self._batched(load), loop=loop)

    def _batched(
        self, load: Callable[[list[K]], Awaitable[list[T]]]
    ) -> Callable[[list[K]], Awaitable[list[T]]]:
        """Record the task of each batch, which a DataLoader creates itself."""

        async def batch(keys: list[K]) -> list[T]:
            task = asyncio.current_task()
            assert task is not None  # noqa: S101 - a coroutine runs in one
            self._batches.add(task)
            try:
                return await load(keys)
            finally:
                self._batches.discard(task)

        return batch

    async def _metadata(self, coin_ids: list[str]) -> list[CoinMetadataFacts | None]:
        self._dependencies.add_catalogue()
        found = await coin_rows.metadata_by_coin(self._database, coin_ids)
        return [found.get(coin_id) for coin_id in coin_ids]

    async def _latest(self, keys: list[SeriesKey]) -> list[LatestFacts | NotFoundError]:
        found = await series_rows.latest_by_key(self._database, keys)
        self._dependencies.add_series(row.series_id for row in found.values())
        missing = [key for key in keys if key not in found]
        errors = await explain_missing(self._database, missing) if missing else {}
        return [found[key] if key in found else errors[key] for key in keys]

    async def _prices(self, questions: list[PriceQuery]) -> list[PricePage | Exception]:
        return await price_series(
            self._database, self._series_cache, self._dependencies, questions, self._tracked
        )

    async def _coverage(self, questions: list[CoverageQuery]) -> list[Coverage | Exception]:
        found = await coverages(self._database, questions, self.now, self._tracked)
        # the expected range grows every hour, and gaps become due
        self._dependencies.expire_at(floor_hour(self.now) + HOUR)
        for each in found:
            if isinstance(each, Coverage) and (due := each.next_due()) is not None:
                self._dependencies.expire_at(due)
        return found

    async def _run_items(self, run_ids: list[UUID]) -> list[list[tuple[RefreshRunItem, Series]]]:
        self._dependencies.mark_uncacheable()
        async with self._database.read() as session:
            found = await run_rows.items_of_runs(session, run_ids)
        return [found[run_id] for run_id in run_ids]
