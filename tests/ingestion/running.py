"""Processes that refresh, and what became of it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import asyncpg
import httpx

from ingestion.coingecko.client import CoinGecko
from ingestion.quota.throttle import Throttle
from ingestion.run.refresher import Refresher, RefreshRequest
from models.coins import seed
from models.postgres.database import Database
from models.tables import Coin, Currency, RefreshTrigger
from simulator import Fault, Simulator
from tests.ingestion.upstream import Hours, charts_of, days_of, hours_of, is_daily, points_of

EVERYTHING = RefreshRequest()
_HELD = 60  # seconds, longer than any test holds anything up


@dataclass
class Deployment:
    """A database, an upstream, and as many processes as a test wants."""

    database_url: str
    simulator: Simulator
    sql: asyncpg.Connection
    http: httpx.AsyncClient  # past our own client
    clients: list[CoinGecko] = field(default_factory=list)  # of its processes
    _asked_before: int = 0
    _open: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Deployment"]:
        self.forget_calls()
        async with self._open:
            yield self

    async def process(
        self,
        coins: Iterable[str] = ("bitcoin", "ethereum"),
        currencies: Iterable[str] = ("usd", "eur"),
        *,
        history_days: int = 5,
        per_minute: float = 600_000,
        base_url: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        attempts: int = 3,
        answer_seconds: float = 30.0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> Refresher:
        """Make a refresher as another process has one: connections and client of its own."""
        database = Database(self.database_url)
        self._open.push_async_callback(database.close)
        upstream = CoinGecko(
            throttle=Throttle(per_minute, database=database, first_pause=0.05, max_pause=0.2),
            base_url=base_url or self.simulator.base_url,
            attempts=attempts,
            timeout=answer_seconds,
            transport=transport,
        )
        await self._open.enter_async_context(upstream)
        self.clients.append(upstream)
        coins, currencies = list(coins), list(currencies)
        async with database.write() as session:
            await seed(
                session,
                [Coin(id=each, symbol=each[:3], name=each) for each in coins],
                [Currency(code=each, name=each, symbol="¤") for each in currencies],
            )
        refresher = Refresher(
            database,
            upstream,
            coins=coins,
            currencies=currencies,
            history_days=history_days,
            now=now,
        )
        self._open.push_async_callback(refresher.interrupt)
        return refresher

    async def refresh(self, refresher: Refresher, **asked: Any) -> "Ended":
        """Run one refresh to its end."""
        run_id, started = await refresher.start(RefreshRequest(**asked), RefreshTrigger.COMMAND)
        assert started
        await refresher.wait(run_id)
        return await self.ended(run_id)

    async def ended(self, run_id: UUID) -> "Ended":
        run = await self.sql.fetchrow("SELECT * FROM refresh_run WHERE id = $1", run_id)
        assert run is not None
        items = await self.sql.fetch(
            "SELECT i.*, s.coin_id || '/' || s.currency_code AS name FROM refresh_run_item i "
            "JOIN series s ON s.id = i.series_id WHERE run_id = $1 ORDER BY position",
            run_id,
        )
        return Ended(dict(run), {item["name"]: dict(item) for item in items})

    async def series(self, name: str) -> dict[str, Any]:
        """What is known of `bitcoin/usd`."""
        row = await self.sql.fetchrow(
            "SELECT * FROM series WHERE coin_id || '/' || currency_code = $1", name
        )
        assert row is not None
        return dict(row)

    async def hours(self, name: str) -> Hours:
        rows = await self.sql.fetch(
            "SELECT * FROM price_hourly WHERE series_id = $1 ORDER BY bucket",
            (await self.series(name))["id"],
        )
        return {row["bucket"]: tuple(row)[2:] for row in rows}

    async def days(self, name: str) -> dict[date, tuple[Any, ...]]:
        rows = await self.sql.fetch(
            "SELECT * FROM price_daily WHERE series_id = $1 ORDER BY day",
            (await self.series(name))["id"],
        )
        return {row["day"]: tuple(row)[2:] for row in rows}

    def calls(self, part: str = "/api/v3/") -> list[str]:
        """Which addresses our clients asked for so far."""
        asked = self.simulator.requests[self._asked_before :]
        ours = [each.target for each in asked if each.user_agent.startswith("coingraph")]
        return [target for target in ours if part in target]

    def charts(self, coin: str = "", *, daily: bool = False) -> list[str]:
        """Which charts in hours, or in days, were asked for so far."""
        asked = self.calls(f"/coins/{coin}/market_chart" if coin else "/market_chart")
        return [target for target in asked if is_daily(target) == daily]

    async def assert_stored(self, *names: str) -> None:
        """All that upstream gave for these series is there, and nothing else, days included."""
        for name in names:
            coin, currency = name.split("/")
            expected, _ = hours_of(await charts_of(self.http, self.charts(coin), currency))
            known = await self.series(name)
            assert await self.hours(name) == expected, name
            daily = await charts_of(self.http, self.charts(coin, daily=True), currency)
            days = points_of(daily, known["history_from"])
            days |= days_of(expected, known["history_from"])
            assert await self.days(name) == days, name
            assert (known["first_bucket"], known["last_bucket"]) == (min(expected), max(expected))

    def hold_up(self, path: str = "", **more: Any) -> None:
        """Let upstream answer such calls only when the faults are cleared."""
        self.simulator.add_fault(Fault("slow", path=path, times=None, seconds=_HELD, **more))

    def forget_calls(self) -> None:
        """Let what comes now be all that upstream was asked for."""
        self._asked_before = len(self.simulator.requests)

    async def lock_is_free(self) -> bool:
        held = await self.sql.fetchval(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = "
            "(SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        return not held

    async def lock_becomes_free(self) -> None:
        """Wait for PostgreSQL, which notices a while after a connection's end or a kill."""
        async with asyncio.timeout(60):
            while not await self.lock_is_free():  # noqa: ASYNC110 - what PostgreSQL does
                await asyncio.sleep(0.01)


@dataclass(frozen=True)
class Ended:
    """A run's row, and its items by the names of their series."""

    run: dict[str, Any]
    items: dict[str, dict[str, Any]]

    @property
    def status(self) -> str:
        return str(self.run["status"])

    @property
    def failed(self) -> dict[str, str]:
        """Why items failed."""
        return {name: item["error"] for name, item in self.items.items() if item["error"]}

    @property
    def calls(self) -> tuple[int, int, int]:
        """Planned, completed, failed."""
        run = self.run
        return run["planned_calls"], run["completed_calls"], run["failed_calls"]

    @property
    def rows(self) -> tuple[int, int]:
        """Inserted, corrected."""
        return self.run["rows_inserted"], self.run["rows_corrected"]
