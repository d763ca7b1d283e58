"""Writes the hours and days of a series: compares them in numpy and writes only the changes.

Everything runs inside the caller's transaction, which writes all of a series or nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg
import numpy as np

from models.postgres.database import WriteSession
from models.postgres.notifications import NOTIFY_SERIES
from models.prices.binary_tables import DAILY, GAPS, HOURLY
from models.prices.changes import Changes, SeriesUpdate, compare_points
from models.prices.days import DAY_MICROS, days_at
from models.prices.gaps import AskedRange
from models.prices.hours import Hours, instant, micros
from models.prices.write_latest import UPSERT_LATEST, NewestPrice, columns
from models.prices.write_order import COUNT_CHANGE, LOCK_SERIES


@dataclass(frozen=True, slots=True)
class Stored:
    """The counts of changed hours, and the series' revision.

    Hours that replace a provisional one, from a live price, count as inserted.
    """

    inserted: int
    corrected: int
    removed: int
    revision: int


async def store_series(
    session: WriteSession,
    series_id: int,
    hours: Hours,
    newest: NewestPrice | None,
    *,
    asked_from: datetime,
    replace_from: datetime | None = None,
    most_lost: float = 1.0,
    asked: Sequence[AskedRange] = (),
) -> Stored:
    """Write hours, days, newest price, gaps and revision of one series.

    `asked_from` is the start of the range that has been requested without interruption; `asked` are
    the ranges requested this time. With `replace_from`, stored hours from then on that are not in
    `hours` are removed; ReplacementTooSmallError is raised if that is more than the share
    `most_lost` of them.
    """
    locked = await session.execute(LOCK_SERIES, {"series": [series_id]})
    before, first, last, charted = locked.one()
    driver = await session.driver()
    history_from = min(asked_from, before or asked_from)
    incoming = SeriesUpdate(
        hours.rows(),
        history_from=micros(history_from),
        cut_at=micros(before) if before and before > history_from else None,
        replace_from=micros(replace_from) if replace_from else None,
        charted_to=micros(charted) if charted else None,
        most_lost=most_lost,
        asked=asked,
    )
    hourly, daily, gaps = await _store_buckets(driver, series_id, incoming)
    first, last = await _edges(driver, series_id, hourly, first, last)
    changed = int(bool(hourly or daily))
    # query results include the start of the history and the gaps of upstream
    notify = history_from != before or bool(gaps)
    inserted, corrected = _counted(hourly, hours, charted)
    if len(hours):
        charted = max(charted or _LONG_AGO, instant(hours.bucket[-1]))
    charted = min(charted, last) if charted and last else None
    known = (series_id, changed, history_from, first, last, notify, charted)
    revision = await driver.fetchval(_FINISH, *columns([newest] if newest else []), *known)
    return Stored(inserted, corrected, len(hourly.gone), revision)


async def _edges(
    driver: asyncpg.Connection,
    series_id: int,
    hourly: Changes,
    first: datetime | None,
    last: datetime | None,
) -> tuple[datetime | None, datetime | None]:
    """Return the first and the last hour of a series after these changes."""
    if len(hourly.gone):
        [edges] = await driver.fetch(_EDGES, series_id)
        return tuple(edges)
    if not len(hourly.new):
        return first, last
    added = [instant(bucket) for bucket in hourly.new["bucket"][[0, -1]]]
    return min(added[0], first or added[0]), max(added[1], last or added[1])


def _counted(hourly: Changes, given: Hours, charted: datetime | None) -> tuple[int, int]:
    """Count new and changed hours as if no live price had been stored."""
    if charted is None:
        return len(hourly.new), len(hourly.changed)
    newest = micros(charted)
    late = int((given.bucket > newest).sum())
    inserted = int((hourly.new["bucket"] <= newest).sum()) + late
    return inserted, int((hourly.changed["bucket"] <= newest).sum())


async def store_daily(
    session: WriteSession,
    series_id: int,
    daily: Hours,
    *,
    asked_from: datetime,
    replace: bool,
    most_lost: float = 1.0,
) -> tuple[int, int]:
    """Write daily points of one series, for days before its hours and days without any hour.

    `daily` holds samples taken at midnight. With `replace`, stored points since `asked_from` that
    are not in `daily` are removed, unless `daily` is empty; ReplacementTooSmallError is raised if
    that is more than the share `most_lost` of them. Returns the numbers of new and removed points.
    """
    locked = await session.execute(LOCK_SERIES, {"series": [series_id]})
    history_from, *_ = locked.one()
    driver = await session.driver()
    points = days_at(daily.rows())
    kept = DAILY.decode(await driver.fetchval(_READ_DAILY, series_id))
    if history_from:  # from then on, days are computed from hours, if they have any
        cut = micros(history_from)
        made = kept["day"][kept["day"] * DAY_MICROS >= cut]
        points = points[(points["day"] * DAY_MICROS < cut) | ~np.isin(points["day"], made)]
        kept = kept[kept["day"] * DAY_MICROS < cut]
    replace_from = micros(asked_from) if replace else None
    changes = compare_points(kept, points, replace_from, most_lost=most_lost)
    await DAILY.write(driver, series_id, changes)
    await driver.fetchval(_FINISH_DAILY, series_id, asked_from, int(bool(changes)))
    return len(changes.new), len(changes.gone)


async def _store_buckets(
    driver: asyncpg.Connection, series_id: int, incoming: SeriesUpdate
) -> tuple[Changes, Changes, Changes]:
    """Write hours, the days computed from them, and gaps. Returns the changes of each."""
    hours = days = gaps = b""
    if touched := incoming.days():
        # Every writer holds the lock of the series, so these rows cannot change meanwhile.
        [(hours, days, gaps)] = await driver.fetch(_READ, series_id, *touched)
    changes = incoming.changes(HOURLY.decode(hours), DAILY.decode(days), GAPS.decode(gaps))
    for table, each in zip((HOURLY, DAILY, GAPS), changes, strict=True):
        await table.write(driver, series_id, each)
    return changes


_LONG_AGO = instant(0)

_BUCKETS_OF_DAYS = """series_id = $1
    AND bucket >= $2::date::timestamp AT TIME ZONE 'UTC'
    AND bucket < $3::date::timestamp AT TIME ZONE 'UTC'"""

_READ = f"""
    SELECT {HOURLY.reading(_BUCKETS_OF_DAYS)},
           {DAILY.reading("series_id = $1 AND day >= $2 AND day < $3")},
           {GAPS.reading("series_id = $1")}
"""

_READ_DAILY = f"SELECT {DAILY.reading('series_id = $1')}"

_EDGES = "SELECT min(bucket), max(bucket) FROM price_hourly WHERE series_id = $1"

# The revision grows by one if hours, days or the newest price of the series changed.
_FINISH = f"""
    WITH latest AS ({UPSERT_LATEST}), change AS (
        SELECT greatest($9::int, (SELECT count(*)::int FROM latest)) AS step
    ), deployed AS (
        {COUNT_CHANGE.format(changed="(SELECT step FROM change) > 0")}
    ), written AS (
        UPDATE series SET
            revision = revision + step,
            deployment_revision = coalesce((SELECT counted FROM deployed), deployment_revision),
            history_from = $10, first_bucket = $11, last_bucket = $12, charted_to = $14,
            last_success_at = now(), last_error = NULL, last_error_at = NULL,
            consecutive_failures = 0
        FROM change WHERE id = $8
        RETURNING id, revision, deployment_revision, step
    )
    SELECT revision, CASE WHEN step > 0 OR $13::bool THEN {NOTIFY_SERIES} END FROM written
"""  # noqa: S608 - constants of this module alone

# Notifies also if only `daily_from` changed: query results include how far back the days reach.
_FINISH_DAILY = f"""
    WITH before AS (
        SELECT daily_from AS reached FROM series WHERE id = $1
    ), deployed AS ({COUNT_CHANGE.format(changed="$3::int > 0")}
    ), written AS (
        UPDATE series SET
            revision = revision + $3::int,
            deployment_revision = coalesce((SELECT counted FROM deployed), deployment_revision),
            daily_from = least(daily_from, $2)
        WHERE id = $1
        RETURNING id, revision, deployment_revision, daily_from
    )
    SELECT CASE WHEN $3 > 0 OR reached IS DISTINCT FROM daily_from THEN {NOTIFY_SERIES} END
    FROM written, before
"""  # noqa: S608 - constants of this module alone
