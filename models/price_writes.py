"""Writing prices: what is stored is read and compared in numpy, then only what changed is written.

Everything here runs inside the caller's transaction, which holds all of one series or nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg
from sqlalchemy import text

from models.database import WriteSession
from models.days import days_at
from models.gaps import Asked
from models.hours import Hours, instant, micros
from models.incoming import Changes, Incoming, compare_points
from models.notifications import TELL_SERIES
from models.price_tables import DAILY, GAPS, HOURLY


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest observation of a series. `change_24h` in percent; None: work it out."""

    series_id: int
    observed_at: datetime
    price: float
    market_cap: float | None
    volume: float | None
    change_24h: float | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """What storing changed. Hours that only a live price stood in for count as inserted."""

    inserted: int
    corrected: int
    removed: int
    revision: int


async def store_series(
    session: WriteSession,
    series_id: int,
    hours: Hours,
    newest: Newest | None,
    *,
    asked_from: datetime,
    replace_from: datetime | None = None,
    asked: Sequence[Asked] = (),
) -> Stored:
    """Write hours, days, latest price, gaps and revision of one series.

    `asked_from` is since when upstream has been asked for everything, `asked` are the ranges of
    this time. With `replace_from`, hours from then on that are not among `hours` are removed.
    """
    locked = await session.execute(LOCK_SERIES, {"series": [series_id]})
    before, first, last, charted = locked.one()
    driver = await session.driver()
    history_from = min(asked_from, before or asked_from)
    incoming = Incoming(
        hours.rows(),
        history_from=micros(history_from),
        cut_at=micros(before) if before and before > history_from else None,
        replace_from=micros(replace_from) if replace_from else None,
        asked=asked,
    )
    hourly, daily, gaps = await _store_buckets(driver, series_id, incoming)
    if len(hourly.gone):
        [(first, last)] = await driver.fetch(_EDGES, series_id)
    elif len(hourly.new):
        added = [instant(bucket) for bucket in hourly.new["bucket"][[0, -1]]]
        first, last = min(added[0], first or added[0]), max(added[1], last or added[1])
    changed = int(bool(hourly or daily))
    # answers show since when history is kept, and which gaps are upstream's
    told = history_from != before or bool(gaps)
    inserted, corrected = _counted(hourly, hours, charted)
    if len(hours):
        charted = max(charted or _LONG_AGO, instant(hours.bucket[-1]))
    charted = min(charted, last) if charted and last else None
    known = (series_id, changed, history_from, first, last, told, charted)
    revision = await driver.fetchval(_FINISH, *columns([newest] if newest else []), *known)
    return Stored(inserted, corrected, len(hourly.gone), revision)


def _counted(hourly: Changes, given: Hours, charted: datetime | None) -> tuple[int, int]:
    """Count hours that were new and hours that changed, as if no live price had been stored."""
    if charted is None:
        return len(hourly.new), len(hourly.changed)
    newest = micros(charted)
    late = int((given.bucket > newest).sum())
    inserted = int((hourly.new["bucket"] <= newest).sum()) + late
    return inserted, int((hourly.changed["bucket"] <= newest).sum())


async def store_daily(
    session: WriteSession, series_id: int, daily: Hours, *, asked_from: datetime, replace: bool
) -> int:
    """Write daily points of one series, which it gets for days that begin before its hours.

    `daily` holds samples taken at midnight. With `replace`, points since `asked_from` that are
    not among them are removed, unless there are none. Gives how many were new.
    """
    locked = await session.execute(LOCK_SERIES, {"series": [series_id]})
    history_from, *_ = locked.one()
    driver = await session.driver()
    cut = micros(history_from) if history_from else 0  # without hours, there is nothing before them
    points = days_at(daily.rows()[daily.bucket < cut])
    kept = DAILY.decode(await driver.fetchval(_READ_DAILY, series_id, history_from))
    changes = compare_points(kept, points, micros(asked_from) if replace else None)
    await DAILY.write(driver, series_id, changes)
    await driver.fetchval(_FINISH_DAILY, series_id, asked_from, int(bool(changes)))
    return len(changes.new)


async def store_quotes(session: WriteSession, quotes: list[Newest]) -> int:
    """Write the newest prices of many series at once; tell how many series changed."""
    await session.execute(LOCK_SERIES, {"series": [quote.series_id for quote in quotes]})
    driver = await session.driver()
    return len(await driver.fetch(_STORE_QUOTES, *columns(quotes)))


async def _store_buckets(
    driver: asyncpg.Connection, series_id: int, incoming: Incoming
) -> tuple[Changes, Changes, Changes]:
    """Write hours, the days made of them, and gaps; tell what was written."""
    hours = days = gaps = b""
    if touched := incoming.days():
        # Every writer holds the lock of the series, so what is read here stays as it is.
        [(hours, days, gaps)] = await driver.fetch(_READ, series_id, *touched)
    changes = incoming.changes(HOURLY.decode(hours), DAILY.decode(days), GAPS.decode(gaps))
    for table, each in zip((HOURLY, DAILY, GAPS), changes, strict=True):
        await table.write(driver, series_id, each)
    return changes


def columns(newest: Sequence[Newest]) -> list[list[object]]:
    """Give them as the arguments of UPSERT_LATEST."""
    return [
        [n.series_id for n in newest],
        [n.observed_at for n in newest],
        [n.price for n in newest],
        [n.market_cap for n in newest],
        [n.volume for n in newest],
        [n.change_24h for n in newest],
    ]


# Every writer begins with this, and in this order: so two of them never write one series at once,
# nor wait for each other. Runs may still refer to the series meanwhile. It goes through the
# session, which begins the transaction with it; what follows goes straight to the driver.
LOCK_SERIES = text("""
    SELECT history_from, first_bucket, last_bucket, charted_to FROM series
    WHERE id = ANY(:series) ORDER BY id FOR NO KEY UPDATE
""")

_LONG_AGO = instant(0)

_BUCKETS_OF_DAYS = """series_id = $1
    AND bucket >= $2::date::timestamp AT TIME ZONE 'UTC'
    AND bucket < $3::date::timestamp AT TIME ZONE 'UTC'"""

_READ = f"""
    SELECT {HOURLY.reading(_BUCKETS_OF_DAYS)},
           {DAILY.reading("series_id = $1 AND day >= $2 AND day < $3")},
           {GAPS.reading("series_id = $1")}
"""

# The day that the history begins within is among them.
_READ_DAILY = f"""
    SELECT {DAILY.reading("series_id = $1 AND day::timestamp AT TIME ZONE 'UTC' < $2")}
"""

_EDGES = "SELECT min(bucket), max(bucket) FROM price_hourly WHERE series_id = $1"

# A market cap or volume that upstream once gave for the same observation is not lost to a null.
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
       OR (kept.observed_at = excluded.observed_at AND (
               kept.price <> excluded.price
            OR (kept.market_cap IS NULL AND excluded.market_cap IS NOT NULL)
            OR (kept.volume IS NULL AND excluded.volume IS NOT NULL)))
    RETURNING series_id
"""

# The deployment's revision grows with each transaction that changes a series. Its one row is locked
# from then on to the commit, so these revisions are committed in their order: who has read one of
# them has seen all before it. It comes after the series' rows, of which a transaction therefore
# locks all that it will write at its beginning; else two of them could wait for each other.
COUNT_CHANGE = """
    UPDATE deployment SET revision = deployment.revision + 1 WHERE {changed}
    RETURNING deployment.revision AS counted
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
    SELECT {TELL_SERIES} FROM written
"""  # noqa: S608 - constants of this module alone

# One revision more where hours, days or the latest price of the series changed.
_FINISH = f"""
    WITH latest AS ({UPSERT_LATEST}), change AS (
        SELECT greatest($8::int, (SELECT count(*)::int FROM latest)) AS step
    ), deployed AS (
        {COUNT_CHANGE.format(changed="(SELECT step FROM change) > 0")}
    ), written AS (
        UPDATE series SET
            revision = revision + step,
            deployment_revision = coalesce((SELECT counted FROM deployed), deployment_revision),
            history_from = $9, first_bucket = $10, last_bucket = $11, charted_to = $13,
            last_success_at = now(), last_error = NULL, last_error_at = NULL,
            consecutive_failures = 0
        FROM change WHERE id = $7
        RETURNING id, revision, deployment_revision, step
    )
    SELECT revision, CASE WHEN step > 0 OR $12::bool THEN {TELL_SERIES} END FROM written
"""  # noqa: S608 - constants of this module alone

# Answers show how far back the days reach.
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
    SELECT CASE WHEN $3 > 0 OR reached IS DISTINCT FROM daily_from THEN {TELL_SERIES} END
    FROM written, before
"""  # noqa: S608 - constants of this module alone
