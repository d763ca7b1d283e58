"""The CPU time of an operation, in this process and its PostgreSQL sessions."""

import statistics
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg

from models.coins import seed
from models.postgres.database import Database
from models.tables import Coin, Currency
from schema import build_schema
from schema.context import Access, Caller, Context, Services
from schema.errors import answer_of
from schema.execution.schema import LimitedSchema
from server.graphql.response import encode
from tests.serving import LiveServer, connected

COINS = [f"coin-{number}" for number in range(11)]
CURRENCIES = ["usd", "eur", "gbp", "jpy"]
NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
HOURS_FROM = NOW - timedelta(days=90)
DAYS_FROM = (NOW - timedelta(days=365)).replace(hour=0)
RUNS = 40

FILL = f"""
    INSERT INTO price_hourly (series_id, bucket, observed_at, price, market_cap, volume)
    SELECT id, hour, hour + interval '271 s', 100 + random(), 1e9 * random(), 1e6 * random()
    FROM series, generate_series('{HOURS_FROM}'::timestamptz, '{NOW}', interval '1 hour') AS hour
    WHERE random() > 0.01;
    INSERT INTO price_daily (series_id, day, price, open, high, low, close, market_cap, volume,
                             samples)
    SELECT id, day, 100 + random(), 100, 101, 99, 100, 1e9, 1e6, 24
    FROM series, generate_series('{DAYS_FROM:%Y-%m-%d}'::date, '{NOW:%Y-%m-%d}', interval '1 day')
        AS day;
    INSERT INTO price_latest (series_id, observed_at, price, market_cap, volume, change_24h)
    SELECT id, '{NOW}', 100, 1e9, 1e6, 1.5 FROM series;
    INSERT INTO price_gap (series_id, starts, ends, asked, answered, asked_since, asked_at)
    SELECT series_id, bucket + interval '1 hour', next, 3, 3, '{HOURS_FROM}', '{NOW}'
    FROM (SELECT series_id, bucket, lead(bucket) OVER (PARTITION BY series_id ORDER BY bucket) AS
          next FROM price_hourly) AS hours
    WHERE next > bucket + interval '1 hour';
    UPDATE series SET revision = 1, deployment_revision = 1, history_from = '{HOURS_FROM}',
        daily_from = '{DAYS_FROM}', first_bucket = '{HOURS_FROM}', last_bucket = '{NOW}',
        charted_to = '{NOW}', last_success_at = '{NOW}';
    INSERT INTO coin_metadata (coin_id, description, image_url, website_url)
    SELECT id, repeat('It is a coin. ', 100), 'https://img.example/' || id, 'https://' || id
    FROM coin;
    INSERT INTO refresh_run (id, status, trigger, finished_at, planned_calls)
    SELECT gen_random_uuid(), 'SUCCEEDED', 'COMMAND', now(), 44 FROM generate_series(1, {RUNS});
    INSERT INTO refresh_run_item (run_id, series_id, position, status, reason, finished_at)
    SELECT run.id, series.id, series.id, 'SUCCEEDED', 'ROUTINE', now() FROM series,
        refresh_run AS run;
"""  # noqa: S608 - constants of the tests


async def fill(database_url: str) -> None:
    """Store the default data: 44 series with 90 days of hours and a year of days."""
    database = Database(database_url)
    async with database.write() as session:
        await seed(
            session,
            [Coin(id=coin, symbol=coin[-3:], name=coin.title()) for coin in COINS],
            [Currency(code=code, name=code, symbol=code) for code in CURRENCIES],
        )
    await database.close()
    async with connected(database_url) as sql:
        await sql.execute(FILL)
        await sql.execute("VACUUM ANALYZE")


NOBODY = Caller("", Access.GRANTED, Access.GRANTED)


@dataclass(frozen=True, slots=True)
class Work:
    """An operation."""

    query: str
    variables: dict[str, Any] = field(default_factory=dict)


REFERENCE = Work(
    '{ prices(coin: "coin-0", first: 2160) { points { timestamp price marketCap volume observedAt '
    "open high low close samples partial filled } } }"
)


@dataclass(slots=True)
class Meter:
    """Executes operations as transports do, without caches, and measures them."""

    schema: LimitedSchema
    services: Services
    sql: asyncpg.Connection
    cost: int = 0  # of the last operation

    async def run(self, work: Work) -> int:
        """Execute one operation. Return its cost, 0 if it is rejected before."""
        context = Context(self.services, NOBODY, encoded=True)
        result = await self.schema.execute(
            work.query, variable_values=work.variables, context_value=context
        )
        encode(answer_of(result, ""), context.dependencies)
        self.cost = context.cost.requested if context.cost else 0
        return self.cost

    async def cpu(self, work: Work, times: int) -> float:
        """Return the mean CPU time of several runs, in microseconds."""
        sessions = await self._sessions()
        before = _nanoseconds(sessions)
        begun = time.process_time()
        for _ in range(times):
            await self.run(work)
        own = time.process_time() - begun
        return (own * 1e6 + (_nanoseconds(sessions) - before) / 1e3) / times

    async def per_point(self, work: Work, most: float) -> float:
        """Return the CPU per cost unit, relative to that of REFERENCE, measured alternately.

        Measures once. If the result exceeds `most`, returns the median of seven measurements.
        """
        await self.run(work)  # excludes what the first run caches
        ratios = [await self._ratio(work)]
        if ratios[0] > most:
            ratios += [await self._ratio(work, 3) for _ in range(6)]
        return statistics.median(ratios)

    async def _ratio(self, work: Work, times: int = 1) -> float:
        before, taken = await self.cpu(REFERENCE, 1), await self.cpu(work, times)
        cost = self.cost
        unit = (before + await self.cpu(REFERENCE, 1)) / 2 / await self.run(REFERENCE)
        return taken / unit / max(1, cost)

    async def _sessions(self) -> list[int]:
        rows = await self.sql.fetch(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid()"
        )
        return [row[0] for row in rows]


def _nanoseconds(pids: Iterable[int]) -> int:
    """Return the CPU time of processes, on Linux."""
    total = 0
    for pid in pids:
        try:
            total += int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])
        except OSError:
            continue
    return total


@asynccontextmanager
async def metered(live: LiveServer, database_url: str) -> AsyncIterator[Meter]:
    services = live.application.admission.services
    assert services is not None
    async with connected(database_url) as sql:
        yield Meter(build_schema(live.application.settings.limits), services, sql)
