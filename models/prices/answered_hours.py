"""Reading what is stored of series, and what upstream was asked for and did not give."""

from collections.abc import Sequence
from datetime import UTC, datetime, time
from typing import NamedTuple

import numpy as np

from models.postgres.database import Database, ReadSession
from models.prices.binary_tables import BUCKETS, DAY_GAPS, DAY_KEYS, GAPS
from models.prices.gaps import DAY_MICROS, GAP_ROW, Micros, confirmed, covers
from models.prices.hours import Rows, micros


class KnownHistory(NamedTuple):
    """The hours and days of a series that are stored, and the gaps asked for, by rising time.

    Hours and days are given by their starts, in microseconds since 1970. Hours that only live
    prices stand in for are left out.
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
    """Read what is known of these series: hours from `since` on, days from `days_since` on."""
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
    """The gaps of a series that upstream was asked for, and where what is stored begins."""

    hours: Rows
    days: Rows
    first_hour: datetime | None
    first_day: datetime | None


async def asked_gaps(database: Database, series_ids: Sequence[int]) -> dict[int, AskedGaps]:
    """Read the gaps of these series. Those that have none, or are removed by now, have no gaps."""
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
    """Return where the history of a coin begins, once upstream has shown it; else None.

    It begins at `first`, the first bucket stored, where upstream's answers have left out all from
    `wanted` to there for long enough, and no day before has a price. `gaps` are the rows of hours
    or days, as `first` is of.
    """
    if first is None or first <= wanted:
        return None
    if first_day is not None and micros(first_day) // DAY_MICROS < micros(first) // DAY_MICROS:
        return None
    return first if covers(gaps[confirmed(gaps)], micros(wanted), micros(first)) else None
