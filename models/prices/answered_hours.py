"""Reads which hours and days of series are stored, and the gaps that upstream left."""

from collections.abc import Sequence
from datetime import UTC, datetime, time
from typing import NamedTuple

import numpy as np

from models.postgres.database import Database, ReadSession
from models.prices.binary_tables import BUCKETS, DAY_GAPS, DAY_KEYS, GAPS
from models.prices.gaps import DAY_MICROS, GAP_ROW, Micros, confirmed, covers
from models.prices.hours import Rows, micros


class KnownHistory(NamedTuple):
    """The stored hours and days of a series, and its requested gaps, by ascending time.

    `hours` and `days` hold the starts of the buckets in microseconds since 1970 (int64).
    Provisional hours, from live prices, are left out. `hour_gaps` and `day_gaps` are rows of
    `GAP_ROW`.
    """

    hours: Micros
    days: Micros
    hour_gaps: Rows
    day_gaps: Rows


NOTHING_KNOWN = KnownHistory(
    np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, GAP_ROW), np.empty(0, GAP_ROW)
)


async def known_history(
    session: ReadSession, series_ids: Sequence[int], since: datetime, days_since: datetime
) -> dict[int, KnownHistory]:
    """Read the history of these series by id: hours from `since` on, days from `days_since` on."""
    driver = await session.driver()
    rows = await driver.fetch(_KNOWN, series_ids, since, days_since)
    return {
        series_id: KnownHistory(
            BUCKETS.decode(hours)["bucket"],
            DAY_KEYS.decode(days)["day"] * DAY_MICROS,
            GAPS.decode(hour_gaps),
            DAY_GAPS.decode(day_gaps),
        )
        for series_id, hours, days, hour_gaps, day_gaps in rows
    }


_KNOWN = f"""
    SELECT wanted.id,
           {BUCKETS.reading("series_id = wanted.id AND bucket >= $2 AND bucket <= charted_to")},
           {DAY_KEYS.reading("series_id = wanted.id AND day >= ($3 AT TIME ZONE 'UTC')::date")},
           {GAPS.reading("series_id = wanted.id AND ends > $2")},
           {DAY_GAPS.reading("series_id = wanted.id AND ends > $3")}
    FROM series AS wanted WHERE id = ANY($1::int[])
"""  # noqa: S608 - constants of this module alone


class AskedGaps(NamedTuple):
    """The requested gaps of a series as rows of `GAP_ROW`, and its first stored hour and day."""

    hours: Rows
    days: Rows
    first_hour: datetime | None
    first_day: datetime | None


async def asked_gaps(database: Database, series_ids: Sequence[int]) -> dict[int, AskedGaps]:
    """Read the gaps of these series by id. A removed series has no gaps."""
    rows = await database.fetch(_ASKED, [str(each) for each in series_ids])
    return dict.fromkeys(series_ids, _NO_GAPS) | {
        series_id: AskedGaps(
            GAPS.decode(hours),
            DAY_GAPS.decode(days),
            first_hour,
            None if first_day is None else datetime.combine(first_day, time.min, UTC),
        )
        for series_id, hours, days, first_hour, first_day in rows
    }


_NO_GAPS = AskedGaps(np.empty(0, GAP_ROW), np.empty(0, GAP_ROW), None, None)

_ASKED = f"""
    SELECT wanted.id, {GAPS.reading("series_id = wanted.id")},
           {DAY_GAPS.reading("series_id = wanted.id")}, first_bucket,
           (SELECT min(day) FROM price_daily WHERE series_id = wanted.id)
    FROM unnest($1::text[]::int[]) AS wanted (id) JOIN series ON series.id = wanted.id
"""  # noqa: S608 - constants of this module alone


def begins_at(
    first: datetime | None, wanted: datetime, gaps: Rows, first_day: datetime | None
) -> datetime | None:
    """Return the beginning of a coin's history if upstream has confirmed it; otherwise None.

    It is `first`, the first stored bucket, if confirmed gaps cover everything from `wanted` to it,
    and no earlier day has a price. `gaps` are rows of hours or of days, like `first`.
    """
    if first is None or first <= wanted:
        return None
    if first_day is not None and micros(first_day) // DAY_MICROS < micros(first) // DAY_MICROS:
        return None
    return first if covers(gaps[confirmed(gaps)], micros(wanted), micros(first)) else None
