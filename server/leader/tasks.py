"""The tasks of the leader: the first load, scheduled refreshes and live polling."""

import asyncio
from collections.abc import Awaitable, Callable

from ingestion.coingecko.client import CoinGecko
from ingestion.jobs.live_prices import LivePoller
from ingestion.jobs.schedule import Schedule
from ingestion.quota.credits import Credits
from ingestion.run.refresher import Refresher
from models.postgres.database import Database
from server.config.settings import Settings


class LeaderTasks:
    """The tasks that the settings enable."""

    def __init__(
        self, settings: Settings, database: Database, upstream: CoinGecko, refresher: Refresher
    ) -> None:
        self._refresh_every = settings.refresh_every
        self._schedule = Schedule(database, refresher)
        self._poller = settings.live_every and LivePoller(
            database,
            upstream,
            coins=settings.coins,
            currencies=settings.currencies,
            every=settings.live_every,
            left=Credits(database, settings.coingecko_monthly_credits),
        )

    async def run(self, verify: Callable[[], Awaitable[None]], begun: asyncio.Event) -> None:
        """Run until cancelled. `begun` is set when the first load, if any, has started."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._refreshes(begun))
            if self._poller:
                group.create_task(self._poller.run(verify))

    async def _refreshes(self, begun: asyncio.Event) -> None:
        await self._schedule.load_new(begun)
        if self._refresh_every:
            await self._schedule.refresh_every(self._refresh_every)
