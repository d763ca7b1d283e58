"""Writes gaps without prices: requested hours that did not come, and missing days.

`models.prices.write_series` writes the gaps of hours together with the hours.
"""

from collections.abc import Sequence

from models.postgres.database import WriteSession
from models.postgres.notifications import NOTIFY_SERIES
from models.prices.binary_tables import BUCKETS, DAY_GAPS, DAY_KEYS, GAPS
from models.prices.changes import compare
from models.prices.gaps import DAY_MICROS, AskedRange, count_asked
from models.prices.hours import micros
from models.prices.write_order import LOCK_SERIES


async def store_asked_hours(
    session: WriteSession, series_id: int, asked: Sequence[AskedRange]
) -> None:
    """Store that upstream gave no hours for these ranges. Hours stored earlier are not gaps."""
    if not asked:
        return
    await session.execute(LOCK_SERIES, {"series": [series_id]})
    driver = await session.driver()
    start, end = min(each.start for each in asked), max(each.end for each in asked)
    [(hours, stored)] = await driver.fetch(_READ_HOURS, series_id, start, end)
    gaps = GAPS.decode(stored)
    changes = compare(gaps, count_asked(gaps, asked, BUCKETS.decode(hours)["bucket"]))
    await GAPS.write(driver, series_id, changes)
    if changes:
        await driver.execute(_NOTIFY, series_id)


async def store_asked_days(
    session: WriteSession, series_id: int, asked: AskedRange
) -> tuple[int, int]:
    """Store which days of a range are missing after its daily points were requested.

    Returns the number of stored days in the range, and of all its days.
    """
    await session.execute(LOCK_SERIES, {"series": [series_id]})
    driver = await session.driver()
    first, last = -(-micros(asked.start) // DAY_MICROS), micros(asked.end) // DAY_MICROS
    [(days, stored)] = await driver.fetch(_READ_DAYS, series_id, asked.start, asked.end)
    numbers, gaps = DAY_KEYS.decode(days)["day"], DAY_GAPS.decode(stored)
    changes = compare(gaps, count_asked(gaps, [asked], numbers * DAY_MICROS, DAY_MICROS))
    await DAY_GAPS.write(driver, series_id, changes)
    if changes:
        await driver.execute(_NOTIFY, series_id)
    return int(((numbers >= first) & (numbers < last)).sum()), max(last - first, 0)


_READ_HOURS = f"""
    SELECT {BUCKETS.reading("series_id = $1 AND bucket >= $2 AND bucket < $3")},
           {GAPS.reading("series_id = $1")}
"""

# Also reads days outside the range, so that gaps whose days were stored otherwise are removed.
_READ_DAYS = f"""
    SELECT {
    DAY_KEYS.reading(
        "series_id = $1 AND day < ($3 AT TIME ZONE 'UTC')::date AND day >= least("
        "($2 AT TIME ZONE 'UTC')::date,"
        " (SELECT min(starts AT TIME ZONE 'UTC')::date FROM price_gap_daily WHERE series_id = $1))"
    )
},
           {DAY_GAPS.reading("series_id = $1")}
"""  # noqa: S608 - constants of this module alone

_NOTIFY = f"SELECT {NOTIFY_SERIES} FROM series WHERE id = $1"  # noqa: S608 - constants alone
