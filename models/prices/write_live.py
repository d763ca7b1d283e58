"""Writes live prices: newest prices, and the sample of the current hour if it has none yet.

Such a sample is provisional: the next chart that has the hour replaces it. Until then it is an
hour like any other and counts in its day.
"""

from collections.abc import Sequence
from datetime import datetime

import asyncpg
import numpy as np

from models.postgres.database import WriteSession
from models.postgres.notifications import NOTIFY_SERIES
from models.prices.binary_tables import DAILY, HOURLY
from models.prices.days import DAY_MICROS, days_of
from models.prices.hours import instant, micros
from models.prices.write_latest import UPSERT_LATEST, NewestPrice, columns
from models.prices.write_order import COUNT_CHANGE, LOCK_SERIES


async def store_live(session: WriteSession, quotes: Sequence[NewestPrice], hour: datetime) -> int:
    """Write live prices of many series, all or none. Returns the number of series that changed.

    `hour` is the start of the current hour. A price that was observed in it becomes its sample,
    unless the hour has one or the series has no history yet. Series without news are neither
    written nor locked.
    """
    driver = await session.driver()
    news = {row[0] for row in await driver.fetch(_NEWS, *columns(quotes), hour)}
    if not news:
        return 0
    quotes = [quote for quote in quotes if quote.series_id in news]
    await session.execute(LOCK_SERIES, {"series": sorted(news)})
    given = columns(quotes)
    written = [row[0] for row in await driver.fetch(_STORE_HOURS, *given[:5], hour)]
    if written:
        await _store_days(driver, written, hour)
    changed = await driver.fetch(_FINISH, *given, written, hour)
    return len(changed)


async def _store_days(
    driver: asyncpg.Connection, series_ids: Sequence[int], hour: datetime
) -> None:
    """Recompute the day that contains `hour` from its hours, for each of these series."""
    midnight = micros(hour) // DAY_MICROS * DAY_MICROS
    rows = await driver.fetch(_READ_DAY, series_ids, instant(midnight))
    if not rows:
        return
    parts = [HOURLY.decode(row[1]) for row in rows]
    hours = np.concatenate(parts)
    # Each series gets a day of its own, so that one call computes all of them.
    place = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    hours["bucket"] += place * DAY_MICROS - midnight
    days = days_of(hours)
    days["day"] = midnight // DAY_MICROS
    await DAILY.put(driver, [row[0] for row in rows], days)


_OFFERED = """unnest($1::int[], $2::timestamptz[], $3::float8[], $4::float8[], $5::float8[]{more})
    AS offered (series_id, observed_at, price, market_cap, volume{name})"""

# Provisional hours come after all hours from charts; a series without such hours has none.
_STANDS_IN = """
    offered.observed_at >= {hour} AND offered.observed_at < {hour} + interval '1 hour'
    AND charted_to < {hour}
    AND NOT EXISTS (
        SELECT FROM price_hourly AS known
        WHERE known.series_id = offered.series_id AND known.bucket = {hour}
    )
"""

# The same conditions as in UPSERT_LATEST, which decides under the lock.
_NEWS = f"""
    SELECT offered.series_id
    FROM {_OFFERED.format(more=", $6::float8[]", name=", change_24h")}
    JOIN series ON id = offered.series_id
    LEFT JOIN price_latest AS kept ON kept.series_id = offered.series_id
    WHERE kept.series_id IS NULL
       OR kept.observed_at < offered.observed_at
       OR kept.observed_at > $7::timestamptz
       OR (kept.observed_at = offered.observed_at AND (
               kept.price <> offered.price
            OR (kept.market_cap IS NULL AND offered.market_cap IS NOT NULL)
            OR (kept.volume IS NULL AND offered.volume IS NOT NULL)))
       OR ({_STANDS_IN.format(hour="$8::timestamptz")})
"""  # noqa: S608 - constants of this module alone

_STORE_HOURS = f"""
    INSERT INTO price_hourly (series_id, bucket, observed_at, price, market_cap, volume)
    SELECT offered.series_id, $6::timestamptz, observed_at, price, market_cap, volume
    FROM {_OFFERED.format(more="", name="")}
    JOIN series ON id = offered.series_id
    WHERE {_STANDS_IN.format(hour="$6::timestamptz")}
    RETURNING series_id
"""  # noqa: S608 - constants of this module alone

# A day in which the history starts is not computed from hours: half a day would pass for a whole.
_OF_DAY = """series_id = series.id
    AND bucket >= $2::timestamptz AND bucket < $2::timestamptz + interval '1 day'"""
_READ_DAY = f"""
    SELECT series.id, {HOURLY.reading(_OF_DAY)}
    FROM series WHERE id = ANY($1::int[]) AND history_from <= $2::timestamptz ORDER BY id
"""  # noqa: S608 - constants of this module alone

_FINISH = f"""
    WITH latest AS ({UPSERT_LATEST}), hours AS (
        SELECT unnest($8::int[]) AS series_id
    ), changed AS (
        SELECT series_id, hours.series_id IS NOT NULL AS has_hour
        FROM latest FULL JOIN hours USING (series_id)
    ), deployed AS (
        {COUNT_CHANGE.format(changed="EXISTS (SELECT FROM changed)")}
    ), written AS (
        UPDATE series SET
            revision = revision + 1, deployment_revision = counted,
            last_bucket = CASE WHEN has_hour THEN greatest(last_bucket, $9::timestamptz)
                ELSE last_bucket END
        FROM changed, deployed
        WHERE id = series_id
        RETURNING id, revision, deployment_revision
    )
    SELECT {NOTIFY_SERIES} FROM written
"""  # noqa: S608 - constants of this module alone
