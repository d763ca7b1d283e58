"""Writes newest prices. The newest price of a series only moves forward in time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from models.postgres.database import WriteSession
from models.postgres.notifications import NOTIFY_SERIES
from models.prices.write_order import COUNT_CHANGE, LOCK_SERIES

# Clocks differ by minutes, not by hours. An observation further in the future is rejected, and a
# stored one is replaced by any other.
MOST_AHEAD = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class NewestPrice:
    """The newest observation of a series.

    `change_24h` is in percent; None means that it is computed from the stored hours.
    """

    series_id: int
    observed_at: datetime
    price: float
    market_cap: float | None
    volume: float | None
    change_24h: float | None = None


async def store_quotes(session: WriteSession, quotes: list[NewestPrice]) -> int:
    """Write the newest prices of many series. Returns the number of series that changed."""
    await session.execute(LOCK_SERIES, {"series": [quote.series_id for quote in quotes]})
    driver = await session.driver()
    return len(await driver.fetch(_STORE_QUOTES, *columns(quotes)))


def columns(newest: Sequence[NewestPrice]) -> list[object]:
    """Return the arguments $1 to $7 of UPSERT_LATEST; $7 is the limit for stored observations."""
    return [
        [n.series_id for n in newest],
        [n.observed_at for n in newest],
        [n.price for n in newest],
        [n.market_cap for n in newest],
        [n.volume for n in newest],
        [n.change_24h for n in newest],
        datetime.now(UTC) + MOST_AHEAD,
    ]


# A null does not replace a stored market cap or volume of the same observation.
UPSERT_LATEST = """
    INSERT INTO price_latest AS kept
        (series_id, observed_at, price, market_cap, volume, change_24h)
    SELECT offered.series_id, offered.observed_at, offered.price, offered.market_cap,
           offered.volume, coalesce(offered.change_24h,
               (SELECT (offered.price / nullif(past.price, 0) - 1) * 100 FROM price_hourly AS past
                WHERE past.series_id = offered.series_id
                  AND past.bucket = date_trunc('hour', offered.observed_at - interval '24 hours')))
    FROM unnest($1::int[], $2::timestamptz[], $3::float8[], $4::float8[], $5::float8[],
                $6::float8[])
        AS offered (series_id, observed_at, price, market_cap, volume, change_24h)
    ON CONFLICT (series_id) DO UPDATE SET
        observed_at = excluded.observed_at, price = excluded.price,
        market_cap = CASE WHEN kept.observed_at = excluded.observed_at
            THEN coalesce(excluded.market_cap, kept.market_cap) ELSE excluded.market_cap END,
        volume = CASE WHEN kept.observed_at = excluded.observed_at
            THEN coalesce(excluded.volume, kept.volume) ELSE excluded.volume END,
        change_24h = excluded.change_24h
    WHERE kept.observed_at < excluded.observed_at
       OR kept.observed_at > $7::timestamptz
       OR (kept.observed_at = excluded.observed_at AND (
               kept.price <> excluded.price
            OR (kept.market_cap IS NULL AND excluded.market_cap IS NOT NULL)
            OR (kept.volume IS NULL AND excluded.volume IS NOT NULL)))
    RETURNING series_id
"""

_STORE_QUOTES = f"""
    WITH latest AS ({UPSERT_LATEST}), deployed AS (
        {COUNT_CHANGE.format(changed="EXISTS (SELECT FROM latest)")}
    ), written AS (
        UPDATE series SET revision = revision + 1, deployment_revision = counted
        FROM latest, deployed
        WHERE id = latest.series_id
        RETURNING id, revision, deployment_revision
    )
    SELECT {NOTIFY_SERIES} FROM written
"""  # noqa: S608 - constants of this module alone
