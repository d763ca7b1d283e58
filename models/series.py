"""Series: the metadata and newest price of one coin in one currency."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, text, update
from sqlmodel import col

from models.postgres.database import Database, ReadSession, WriteSession
from models.tables import PriceLatest, Series

SeriesKey = tuple[str, str]  # coin id, currency code


@dataclass(frozen=True, slots=True)
class SeriesFacts:
    """The columns of a series that price queries need."""

    id: int
    coin_id: str
    currency_code: str
    revision: int
    history_from: datetime | None
    daily_from: datetime | None


@dataclass(frozen=True, slots=True)
class LatestFacts:
    """A series' newest price; `price` and `observed_at` are None if it has none yet.

    `change_24h` is in percent.
    """

    series_id: int
    coin_id: str
    currency_code: str
    revision: int
    observed_at: datetime | None
    price: float | None
    market_cap: float | None
    volume: float | None
    change_24h: float | None


@dataclass(frozen=True, slots=True)
class SeriesWithLatest:
    """A series and its newest price, None if it has none yet."""

    series: Series
    latest: PriceLatest | None


_SERIES_WITH_LATEST = select(Series, PriceLatest).join(
    PriceLatest, col(PriceLatest.series_id) == col(Series.id), isouter=True
)


async def latest_by_key(
    database: Database, keys: Sequence[SeriesKey]
) -> dict[SeriesKey, LatestFacts]:
    """Read the newest prices of these series. Unknown series are left out."""
    coins, currencies = zip(*keys, strict=True) if keys else ((), ())
    rows = await database.fetch(_LATEST + _WANTED, coins, currencies)
    return {(row[1], row[2]): LatestFacts(*row) for row in rows}


async def latest_of(
    database: Database, coins: Sequence[str] | None, currencies: Sequence[str] | None
) -> list[LatestFacts]:
    """List the newest prices by coin and currency; None means all coins or currencies."""
    rows = await database.fetch(_LATEST + _AMONG, coins, currencies)
    return [LatestFacts(*row) for row in rows]


async def deployment_revision(database: Database) -> int:
    """Read the deployment's revision: the number of transactions that have changed any series."""
    [(revision,)] = await database.fetch("SELECT revision FROM deployment")
    return int(revision)


async def changed_prices(
    database: Database, since: int
) -> tuple[int, list[tuple[int, LatestFacts]]]:
    """Read the deployment's revision, and the changes after revision `since`, in one snapshot.

    The changes are, for each changed series with a price and in the order of the changes, the
    deployment's revision as of its last change, and its newest price.
    """
    rows = await database.fetch(_CHANGED, since)
    return rows[0][0], [(row[1], LatestFacts(*row[2:])) for row in rows if row[1] is not None]


# The left join returns at least one row, which has the deployment's revision.
_CHANGED = """
    SELECT deployment.revision, changed.*
    FROM deployment LEFT JOIN (
        SELECT deployment_revision, id, coin_id, currency_code, series.revision,
               observed_at, price, market_cap, volume, change_24h
        FROM series JOIN price_latest ON series_id = id
        WHERE deployment_revision > $1
    ) AS changed ON true
    ORDER BY deployment_revision, id
"""

_LATEST = """
    SELECT id, coin_id, currency_code, revision, observed_at, price, market_cap, volume, change_24h
    FROM series LEFT JOIN price_latest ON series_id = id
"""
_WANTED = """
    JOIN unnest($1::text[], $2::text[]) AS wanted (coin_id, currency_code)
        USING (coin_id, currency_code)
"""
_AMONG = """
    WHERE ($1::text[] IS NULL OR coin_id = ANY($1))
      AND ($2::text[] IS NULL OR currency_code = ANY($2))
    ORDER BY coin_id, currency_code
"""


async def list_series(
    database: Database,
    coins: Sequence[str] | None,
    currencies: Sequence[str] | None,
    *,
    limit: int | None = None,
) -> list[SeriesFacts]:
    """List series by coin and currency; None means all coins or currencies."""
    rows = await database.fetch(_FACTS + _AMONG + " LIMIT $3", coins, currencies, limit)
    return [SeriesFacts(*row) for row in rows]


_FACTS = "SELECT id, coin_id, currency_code, revision, history_from, daily_from FROM series"


async def count_unloaded(
    database: Database, coins: Sequence[str], currencies: Sequence[str]
) -> int:
    """Count the series that no refresh has loaded, nor requested within the last hour.

    A server that restarts repeatedly must not request each time what upstream does not have.
    """
    [(count,)] = await database.fetch(_UNLOADED, coins, currencies)
    return int(count)


_UNLOADED = """
    SELECT count(*) FROM series
    WHERE last_success_at IS NULL AND coin_id = ANY($1::text[]) AND currency_code = ANY($2::text[])
      AND NOT EXISTS (
          SELECT FROM price_gap WHERE series_id = id
              AND asked_at BETWEEN now() - interval '1 hour' AND now() + interval '1 hour'
      )
"""


async def series_with_latest(
    session: ReadSession, coins: Sequence[str] | None, currencies: Sequence[str] | None
) -> list[SeriesWithLatest]:
    """List series by coin and currency; None means all coins or currencies."""
    query = _SERIES_WITH_LATEST.order_by(col(Series.coin_id), col(Series.currency_code))
    if coins is not None:
        query = query.where(col(Series.coin_id).in_(coins))
    if currencies is not None:
        query = query.where(col(Series.currency_code).in_(currencies))
    rows = await session.execute(query)
    return [SeriesWithLatest(series, latest) for series, latest in rows]


async def record_failure(session: WriteSession, series_id: int, error: str) -> None:
    """Store why a series could not be refreshed. Its prices and revision do not change."""
    await session.execute(
        update(Series)
        .where(col(Series.id) == series_id)
        .values(
            last_error=error,
            last_error_at=func.now(),
            consecutive_failures=Series.consecutive_failures + 1,
        )
    )


async def newest_observation_age(session: ReadSession) -> float | None:
    """Return the age of the newest price of all series in seconds; None without any price."""
    age: float | None = await session.scalar(
        text(
            "SELECT extract(epoch FROM greatest(now() - max(observed_at), interval '0'))::float8 "
            "FROM price_latest HAVING count(*) > 0"
        )
    )
    return age
