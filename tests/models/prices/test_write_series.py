"""Hours in the table: what is written, and what is left alone."""

import math
import struct
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.postgres.database import Database
from models.prices.write_series import Stored, store_series
from tests.models.storing import (
    HOUR,
    LONG_AGO,
    NOON,
    Sample,
    days_in,
    hours_in,
    hours_of,
    revision,
    run_of_hours,
    store,
    versions,
)


async def test_hours_arrive_as_they_are(
    database: Database, sql: asyncpg.Connection, series: int
) -> None:
    samples = {
        NOON: Sample(61_234.56789012345, 1.2e12, 3.4e10),
        NOON + HOUR: Sample(0.0, 0.0, None, late=3599.999),
        NOON + 3 * HOUR: Sample(5e-8, None, 7.0, late=0.0),
    }
    stored = await store(database, series, samples)
    assert stored == Stored(inserted=3, corrected=0, removed=0, revision=1)
    assert await hours_in(sql, series) == {
        at: (sample.price, sample.cap, sample.volume) for at, sample in samples.items()
    }
    observed = await sql.fetch("SELECT bucket, observed_at FROM price_hourly ORDER BY 1")
    assert [(row[1] - row[0]).total_seconds() for row in observed] == [270.0, 3599.999, 0.0]
    known = await sql.fetchrow("SELECT first_bucket, last_bucket FROM series WHERE id = $1", series)
    assert known is not None
    assert tuple(known) == (NOON, NOON + 3 * HOUR)


async def test_the_same_again_writes_nothing(
    database: Database, sql: asyncpg.Connection, series: int
) -> None:
    samples = {NOON: Sample(1.5, 2.5, None), NOON + HOUR: Sample(1.6)}
    await store(database, series, samples)
    before = [await versions(sql, table) for table in ("price_hourly", "price_daily")]
    assert await store(database, series, samples) == Stored(0, 0, 0, revision=1)
    assert [await versions(sql, table) for table in ("price_hourly", "price_daily")] == before


async def test_only_what_changed_is_written(
    database: Database, sql: asyncpg.Connection, series: int
) -> None:
    samples = dict.fromkeys(run_of_hours(NOON, [0] * 48), Sample(1.0, 2.0, 3.0))
    await store(database, series, samples)
    untouched = await sql.fetch("SELECT xmin FROM price_daily WHERE day <> '2026-03-02'")
    wrong = NOON + 20 * HOUR
    changed = {**samples, wrong: Sample(1.25, 2.0, 3.0), NOON + 48 * HOUR: Sample(4.0)}
    assert await store(database, series, changed) == Stored(1, 1, 0, revision=2)
    assert (await hours_in(sql, series))[wrong] == (1.25, 2.0, 3.0)
    writers = await sql.fetch("SELECT xmin::text, count(*) FROM price_hourly GROUP BY 1 ORDER BY 2")
    assert [row["count"] for row in writers] == [2, 47]
    assert await sql.fetchval("SELECT xmin FROM price_daily WHERE day = '2026-03-01'") in {
        row["xmin"] for row in untouched
    }


@pytest.mark.parametrize(
    "corrected",
    [
        Sample(1.0, 2.0, 3.0, late=271.0),
        Sample(math.nextafter(1.0, 2.0), 2.0, 3.0),
        Sample(1.0, 2.5, 3.0),
        Sample(1.0, 2.0, 3.5),
    ],
)
async def test_each_column_can_be_corrected(
    database: Database, sql: asyncpg.Connection, series: int, corrected: Sample
) -> None:
    await store(database, series, {NOON: Sample(1.0, 2.0, 3.0)})
    assert await store(database, series, {NOON: corrected}) == Stored(0, 1, 0, revision=2)
    assert (await hours_in(sql, series))[NOON] == (corrected.price, corrected.cap, corrected.volume)


async def test_a_null_loses_nothing_of_the_same_observation(
    database: Database, sql: asyncpg.Connection, series: int
) -> None:
    await store(database, series, {NOON: Sample(1.0, 2.0, None)})
    assert await store(database, series, {NOON: Sample(1.0, None, None)}) == Stored(0, 0, 0, 1)
    assert (await store(database, series, {NOON: Sample(1.0, None, 3.0)})).corrected == 1
    assert await hours_in(sql, series) == {NOON: (1.0, 2.0, 3.0)}
    assert (await store(database, series, {NOON: Sample(1.5, None, None)})).corrected == 1
    assert await hours_in(sql, series) == {NOON: (1.5, 2.0, 3.0)}


@pytest.mark.parametrize("back", [1, 2, 30])
async def test_an_hour_never_moves_to_a_later_observation(
    database: Database, sql: asyncpg.Connection, series: int, back: int
) -> None:
    """A later answer lacks the earlier sample of an hour that has two."""
    samples: dict[datetime, Sample | float] = dict(run_of_hours(NOON, [1.0] * 48))
    hour = NOON + (47 - back) * HOUR
    await store(database, series, samples)
    days = await days_in(sql, series)
    later = Sample(2.0, 3.0, late=1800.0)
    assert await store(database, series, {**samples, hour: later}) == Stored(0, 0, 0, revision=1)
    assert (await hours_in(sql, series))[hour] == (1.0, None, None)
    assert await days_in(sql, series) == days
    # the same observation can be corrected, an earlier one comes first, a rebuild takes what comes
    for sample in (Sample(1.5), Sample(4.0, late=30.0)):
        assert (await store(database, series, {**samples, hour: sample})).corrected == 1
        assert (await hours_in(sql, series))[hour] == (sample.price, None, None)
    rebuilt = await store(database, series, {**samples, hour: later}, replace_from=NOON)
    assert rebuilt.corrected == 1
    assert (await hours_in(sql, series))[hour] == (2.0, 3.0, None)


async def test_another_observation_brings_its_own_nulls(
    database: Database, sql: asyncpg.Connection, series: int
) -> None:
    await store(database, series, {NOON: Sample(1.0, 2.0, 3.0, late=30)})
    await store(database, series, {NOON: Sample(1.0, None, 4.0, late=270)})
    assert await hours_in(sql, series) == {NOON: (1.0, None, 4.0)}


async def test_an_answer_without_hours_is_a_success_without_a_change(
    database: Database, sql: asyncpg.Connection, series: int
) -> None:
    await sql.execute("UPDATE series SET last_error = 'x', consecutive_failures = 3")
    assert await store(database, series, {}) == Stored(0, 0, 0, revision=0)
    row = await sql.fetchrow("SELECT * FROM series WHERE id = $1", series)
    assert row is not None
    assert (row["last_error"], row["consecutive_failures"]) == (None, 0)
    assert row["last_success_at"] is not None
    assert row["first_bucket"] is None


async def test_two_series_of_one_transaction_stay_apart(
    database: Database, sql: asyncpg.Connection, series: int, other_series: int
) -> None:
    async with database.write() as session:
        for each, prices in ((series, [1.0, 2.0]), (other_series, [8.0])):
            hours = hours_of(run_of_hours(NOON, prices))
            await store_series(session, each, hours, None, asked_from=LONG_AGO)
    assert [price for price, _, _ in (await hours_in(sql, series)).values()] == [1.0, 2.0]
    assert [price for price, _, _ in (await hours_in(sql, other_series)).values()] == [8.0]


LEAST, MOST = 1e-100, 1e100  # what ingestion lets through


@pytest.mark.slow
@given(
    st.dictionaries(
        st.integers(-900_000, 900_000),
        st.floats(LEAST, MOST) | st.just(0.0) | st.sampled_from([LEAST, MOST, 1e-12, 1e12]),
        max_size=30,
    )
)
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
async def test_any_price_at_any_time_keeps_every_bit(
    database: Database, sql: asyncpg.Connection, series: int, prices: dict[int, float]
) -> None:
    y2k = datetime(2000, 1, 1, tzinfo=UTC)  # PostgreSQL counts from there
    samples = {y2k + timedelta(hours=hour): Sample(price) for hour, price in prices.items()}
    long_ago = datetime(1800, 1, 1, tzinfo=UTC)
    await store(database, series, samples, asked_from=long_ago, replace_from=long_ago)
    kept = await hours_in(sql, series)
    assert {at: struct.pack(">d", row[0]) for at, row in kept.items()} == {
        at: struct.pack(">d", sample.price) for at, sample in samples.items()
    }
    assert all(row[2] >= row[0] >= row[3] for row in (await days_in(sql, series)).values())


async def test_every_change_is_one_revision(
    database: Database, sql: asyncpg.Connection, series: int
) -> None:
    revisions = []
    for prices in ([1.0], [1.0], [1.0, 2.0], [1.5, 2.5, 3.5], [1.5, 2.5, 3.5]):
        stored = await store(database, series, run_of_hours(NOON, prices))
        revisions.append(stored.revision)
        assert stored.revision == await revision(sql, series)
    assert revisions == [1, 1, 2, 3, 3]
