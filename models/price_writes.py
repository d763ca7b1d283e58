"""Writing prices: COPY into a staging table, then upserts that write only what changed.

Everything here runs inside the caller's transaction, which holds all of one series or nothing.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime

from sqlalchemy import text

from models.database import WriteSession
from models.notifications import tell_series
from models.staging import Hours, stage


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
    """What storing changed."""

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
) -> Stored:
    """Write hours, days, latest price and revision of one series.

    `asked_from` is the start of the range that upstream was asked for. With `replace_from`, hours
    from then on that are not among `hours` are removed.
    """
    touched = await _extend_history(session, series_id, asked_from)
    await stage(session, hours)
    removed: list[date] = []
    if replace_from is not None:
        rows = await session.execute(_REMOVE, {"series": series_id, "from": replace_from})
        removed = list(rows.scalars())
    inserted, corrected, days = (await session.execute(_UPSERT, {"series": series_id})).one()
    changed = bool(days or removed)
    changed |= await _store_days(session, series_id, {*(touched or []), *(days or []), *removed})
    changed |= bool(newest and await _store_newest(session, [newest]))
    result = await session.execute(_FINISH, {"series": series_id, "changed": int(changed)})
    revision = result.scalar_one()
    if changed or touched is not None:  # answers show since when history is kept
        await tell_series(session, series_id, revision)
    return Stored(inserted, corrected, len(removed), revision)


async def _extend_history(
    session: WriteSession, series_id: int, asked_from: datetime
) -> set[date] | None:
    """Note how far back upstream was asked; tell which day that makes whole, None if no news."""
    before = (await session.execute(_LOCK_SERIES, {"series": [series_id]})).scalar_one()
    if before is not None and before <= asked_from:
        return None
    await session.execute(_EXTEND_HISTORY, {"series": series_id, "asked_from": asked_from})
    return set() if before is None else {before.astimezone(UTC).date()}


async def _store_days(session: WriteSession, series_id: int, days: set[date]) -> bool:
    """Make these days from their hours; tell whether any of them changed."""
    if not days:
        return False
    parameters = {"series": series_id, "days": sorted(days)}
    dropped = await session.execute(_DROP_EMPTY_DAYS, parameters)
    written = await session.execute(_UPSERT_DAYS, parameters)
    return bool(dropped.all() or written.all())


async def store_quotes(session: WriteSession, quotes: list[Newest]) -> int:
    """Write the newest prices of many series at once; tell how many series changed."""
    await session.execute(_LOCK_SERIES, {"series": [quote.series_id for quote in quotes]})
    changed = await _store_newest(session, quotes)
    if not changed:
        return 0
    rows = await session.execute(_NEXT_REVISION, {"series": changed})
    for series_id, revision in rows:
        await tell_series(session, series_id, revision)
    return len(changed)


async def _store_newest(session: WriteSession, newest: list[Newest]) -> list[int]:
    """Write what is newer than what is there; tell which series changed."""
    if not newest:
        return []
    columns = {
        "series": [n.series_id for n in newest],
        "observed_at": [n.observed_at for n in newest],
        "price": [n.price for n in newest],
        "market_cap": [n.market_cap for n in newest],
        "volume": [n.volume for n in newest],
        "change": [n.change_24h for n in newest],
    }
    return list((await session.execute(_UPSERT_LATEST, columns)).scalars())


# Every writer begins with this, and in this order: so two of them never write one series at once,
# nor wait for each other. Runs may still refer to the series meanwhile.
_LOCK_SERIES = text("""
    SELECT history_from FROM series WHERE id = ANY(:series) ORDER BY id FOR NO KEY UPDATE
""")

_EXTEND_HISTORY = text("UPDATE series SET history_from = :asked_from WHERE id = :series")

_REMOVE = text("""
    DELETE FROM price_hourly AS kept
    WHERE series_id = :series AND bucket >= :from
      AND NOT EXISTS (SELECT FROM staged_hour AS staged WHERE staged.bucket = kept.bucket)
    RETURNING (bucket AT TIME ZONE 'UTC')::date
""")

# A market cap or volume that upstream once gave for the same observation is not lost to a null.
_UPSERT = text("""
    WITH staged AS (
        SELECT bucket, observed_at, price,
               nullif(market_cap, 'NaN') AS market_cap, nullif(volume, 'NaN') AS volume
        FROM staged_hour
    ), written AS (
        INSERT INTO price_hourly AS kept
            (series_id, bucket, observed_at, price, market_cap, volume)
        SELECT :series, bucket, observed_at, price, market_cap, volume FROM staged
        ON CONFLICT (series_id, bucket) DO UPDATE SET
            observed_at = excluded.observed_at,
            price = excluded.price,
            market_cap = CASE WHEN kept.observed_at = excluded.observed_at
                THEN coalesce(excluded.market_cap, kept.market_cap) ELSE excluded.market_cap END,
            volume = CASE WHEN kept.observed_at = excluded.observed_at
                THEN coalesce(excluded.volume, kept.volume) ELSE excluded.volume END
        WHERE (kept.observed_at, kept.price) IS DISTINCT FROM (excluded.observed_at, excluded.price)
           OR kept.market_cap IS DISTINCT FROM coalesce(excluded.market_cap, kept.market_cap)
           OR kept.volume IS DISTINCT FROM coalesce(excluded.volume, kept.volume)
        RETURNING bucket, xmax = 0 AS inserted  -- xmax is set where a row was there before
    )
    SELECT count(*) FILTER (WHERE inserted), count(*) FILTER (WHERE NOT inserted),
           array_agg(DISTINCT (bucket AT TIME ZONE 'UTC')::date)
    FROM written
""")

_DROP_EMPTY_DAYS = text("""
    DELETE FROM price_daily AS kept
    WHERE series_id = :series AND day = ANY(:days) AND NOT EXISTS (
        SELECT FROM price_hourly AS hour
        WHERE hour.series_id = :series
          AND hour.bucket >= kept.day::timestamp AT TIME ZONE 'UTC'
          AND hour.bucket < (kept.day + 1)::timestamp AT TIME ZONE 'UTC'
    )
    RETURNING day
""")

# A day that the start of the history cuts in two gets no row: half of it would pass for the whole.
_UPSERT_DAYS = text("""
    INSERT INTO price_daily AS kept
        (series_id, day, price, open, high, low, close, market_cap, volume, samples)
    SELECT :series, touched.day, avg(price ORDER BY bucket),
           (array_agg(price ORDER BY bucket))[1], max(price), min(price),
           (array_agg(price ORDER BY bucket DESC))[1],
           (array_agg(market_cap ORDER BY bucket DESC) FILTER (WHERE market_cap IS NOT NULL))[1],
           (array_agg(volume ORDER BY bucket DESC) FILTER (WHERE volume IS NOT NULL))[1],
           count(*)
    FROM unnest(CAST(:days AS date[])) AS touched (day)
    JOIN series ON series.id = :series
     AND series.history_from <= touched.day::timestamp AT TIME ZONE 'UTC'
    JOIN price_hourly AS hour ON hour.series_id = :series
     AND hour.bucket >= touched.day::timestamp AT TIME ZONE 'UTC'
     AND hour.bucket < (touched.day + 1)::timestamp AT TIME ZONE 'UTC'
    GROUP BY touched.day
    ON CONFLICT (series_id, day) DO UPDATE SET
        price = excluded.price, open = excluded.open, high = excluded.high, low = excluded.low,
        close = excluded.close, market_cap = excluded.market_cap, volume = excluded.volume,
        samples = excluded.samples
    WHERE (kept.price, kept.open, kept.high, kept.low, kept.close, kept.market_cap, kept.volume,
           kept.samples)
        IS DISTINCT FROM (excluded.price, excluded.open, excluded.high, excluded.low,
           excluded.close, excluded.market_cap, excluded.volume, excluded.samples)
    RETURNING day
""")

_UPSERT_LATEST = text("""
    INSERT INTO price_latest AS kept
        (series_id, observed_at, price, market_cap, volume, change_24h)
    SELECT offered.series_id, offered.observed_at, offered.price, offered.market_cap,
           offered.volume, coalesce(offered.change_24h,
               (SELECT (offered.price / nullif(past.price, 0) - 1) * 100 FROM price_hourly AS past
                WHERE past.series_id = offered.series_id
                  AND past.bucket = date_trunc('hour', offered.observed_at - interval '24 hours')))
    FROM unnest(
        CAST(:series AS int[]), CAST(:observed_at AS timestamptz[]), CAST(:price AS float8[]),
        CAST(:market_cap AS float8[]), CAST(:volume AS float8[]), CAST(:change AS float8[])
    ) AS offered (series_id, observed_at, price, market_cap, volume, change_24h)
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
""")

_FINISH = text("""
    UPDATE series SET
        revision = revision + :changed,
        first_bucket = (SELECT min(bucket) FROM price_hourly WHERE series_id = :series),
        last_bucket = (SELECT max(bucket) FROM price_hourly WHERE series_id = :series),
        last_success_at = now(), last_error = NULL, last_error_at = NULL,
        consecutive_failures = 0
    WHERE id = :series
    RETURNING revision
""")

_NEXT_REVISION = text("""
    UPDATE series SET revision = revision + 1 WHERE id = ANY(:series) RETURNING id, revision
""")
