"""The databases that the servers are measured on: filled by coingraph, then extended with SQL."""

import asyncio
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime

import asyncpg
from sqlalchemy.engine import make_url

from benchmarks.processes import clean_environment, coingraph
from simulator import SimulatorOptions, run_simulator

HISTORY_DAYS = 97  # of all series: a week more than the 90 days queried
LONG_DAYS = 3_650  # of one series, so that there are tens of thousands of different ranges
HOURS = 2_160
COINS = 50
_FAST = "600000"  # requests a minute: the simulator has no limit


class FillError(Exception):
    """The first refresh did not succeed."""


def run_sql(url: str, *statements: str) -> None:
    """Execute each statement in a transaction of its own."""

    async def run() -> None:
        connection = await asyncpg.connect(url.replace("+asyncpg", ""))
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(run())


def fetch(url: str, statement: str, *parameters: object) -> list[asyncpg.Record]:
    async def run() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(url.replace("+asyncpg", ""))
        try:
            rows: list[asyncpg.Record] = await connection.fetch(statement, *parameters)
            return rows
        finally:
            await connection.close()

    return asyncio.run(run())


def url_of(url: str, name: str) -> str:
    """Return the URL of another database of the same server."""
    return make_url(url).set(database=name).render_as_string(hide_password=False)


def copy_database(url: str, name: str) -> str:
    """Copy the filled database, which must have no connections. Returns the copy's URL."""
    filled = make_url(url).database
    run_sql(
        url_of(url, "postgres"),
        f"DROP DATABASE IF EXISTS {name} WITH (FORCE)",
        f"CREATE DATABASE {name} TEMPLATE {filled}",
    )
    return url_of(url, name)


def drop_database(url: str, name: str) -> None:
    run_sql(url_of(url, "postgres"), f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def fill(url: str) -> None:
    """Load the default 44 series with `coingraph refresh` from the simulator, then extend them.

    Raises FillError.
    """
    # a paid plan: the free ones offer no more than a year
    with run_simulator(SimulatorOptions(plan="pro", api_key="benchmark")) as simulator:
        environment = {
            "DATABASE_URL": url,
            "COINGECKO_BASE_URL": simulator.base_url,
            "COINGECKO_PLAN": "pro",
            "COINGECKO_API_KEY": "benchmark",
            "COINGECKO_REQUESTS_PER_MINUTE": _FAST,
            "HISTORY_DAYS": str(HISTORY_DAYS),
            "LOG_LEVEL": "error",
        }
        _refresh(environment)
        _refresh(environment, "--coins=bitcoin", "--currencies=usd", f"--days={LONG_DAYS}")
    [row] = fetch(url, _LONGEST)
    if row[0] < LONG_DAYS * 23:
        raise FillError(f"the longest series has only {row[0]:,} hours")
    run_sql(url, _FILL_GAPS, *_MORE_COINS, POSTGRAPHILE_FUNCTION, _ANALYZE)


_LONGEST = "SELECT count(*) AS hours FROM price_hourly GROUP BY series_id ORDER BY 1 DESC LIMIT 1"


def _refresh(environment: Mapping[str, str], *arguments: str) -> None:
    run = subprocess.run(  # noqa: S603 - our own command
        coingraph("refresh", *arguments),
        env=clean_environment(environment),
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        raise FillError(f"coingraph refresh: {run.stdout}{run.stderr}")


def last_hour(url: str) -> datetime:
    """Return the newest hour that all loaded series have."""
    [row] = fetch(url, "SELECT min(last_bucket) FROM series")
    newest: datetime = row[0]
    return newest.astimezone(UTC)


# The simulator leaves out some hours, as CoinGecko does. They are filled in the one series that all
# servers are queried for, so that each range has the same number of points.
_FILL_GAPS = """
    INSERT INTO price_hourly (series_id, bucket, observed_at, price, market_cap, volume)
    SELECT known.series_id, hour, hour, known.price, known.market_cap, known.volume
    FROM series
    CROSS JOIN LATERAL generate_series(first_bucket, last_bucket, interval '1 hour') AS hour
    CROSS JOIN LATERAL (
        SELECT * FROM price_hourly WHERE series_id = series.id AND bucket < hour
        ORDER BY bucket DESC LIMIT 1
    ) AS known
    WHERE coin_id = 'bitcoin' AND currency_code = 'usd'
    ON CONFLICT DO NOTHING
"""

# The simulated market has fewer coins than the queries for lists of coins request.
_MORE_COINS = (
    f"""
    INSERT INTO coin (id, symbol, name)
    SELECT 'invented-' || number, 'inv' || number, 'Invented ' || number
    FROM generate_series(1, {COINS} - (SELECT count(*)::int FROM coin)) AS number
    """,  # noqa: S608 - a constant
    """
    INSERT INTO series (coin_id, currency_code, revision)
    SELECT id, 'usd', 1 FROM coin
    ON CONFLICT DO NOTHING
    """,
    """
    INSERT INTO price_latest (series_id, observed_at, price, market_cap, volume, change_24h)
    SELECT id, date_trunc('minute', now()), 1 + id / 7.0, id * 1e9 / 3, id * 1e7 / 3, id / 11.0
    FROM series
    ON CONFLICT DO NOTHING
    """,
)

# Lets PostGraphile query a range of a table without a foreign key: a function on the row, which
# PostgreSQL inlines. No other server uses it.
POSTGRAPHILE_FUNCTION = """
    CREATE OR REPLACE FUNCTION series_points(
        series series, since timestamptz, until timestamptz
    ) RETURNS SETOF price_hourly LANGUAGE sql STABLE AS $$
        SELECT * FROM price_hourly
        WHERE series_id = ($1).id AND bucket >= since AND bucket < until
        ORDER BY bucket
    $$
"""

_ANALYZE = "VACUUM ANALYZE"
