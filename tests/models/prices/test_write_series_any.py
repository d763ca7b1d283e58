"""Any sequence of stores leaves what the rules say, and writes only what it changes."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from models.postgres.database import Database
from models.prices.write_latest import NewestPrice
from models.prices.write_series import Stored
from tests.models.series_model import SeriesModel, hours_after
from tests.models.storing import DAY, HOUR, NOON, Sample, days_in, hours_in, store

START = NOON - 12 * HOUR
_SPAN = 75  # hours: three days and a bit


@dataclass(frozen=True)
class Step:
    """One store. Offsets are hours after START; of the newest price, minutes."""

    samples: dict[int, Sample]
    asked: int
    replace: int | None = None
    newest: tuple[int, float, float | None, float | None] | None = None


# Few values and few hours, so that steps meet and repeat each other.
_prices = st.sampled_from([0.0, 0.1, 1e-100, 3.7, 1e100])
_extras = st.sampled_from([None, 0.0, 2.5])
_samples = st.builds(Sample, _prices, _extras, _extras, st.sampled_from([0.0, 270.0]))


@st.composite
def _steps(draw: st.DrawFn) -> Step:
    asked = draw(st.integers(0, _SPAN - 1))
    hours = st.integers(asked, _SPAN) | st.integers(asked, min(asked + 4, _SPAN))
    newest = st.tuples(st.sampled_from([24 * 60, 30 * 60, 4000]), _prices, _extras, _extras)
    return Step(
        draw(st.dictionaries(hours, _samples, max_size=30)),
        asked,
        draw(st.none() | hours),
        draw(st.none() | newest),
    )


_ALL = {hour: Sample(0.1, 2.5) for hour in range(_SPAN)}


@pytest.mark.slow
@given(st.lists(_steps(), min_size=1, max_size=6))
@example([Step(_ALL, 0), Step(_ALL, 0), Step({}, 0, replace=0)])
@example([Step({30: Sample(1.0)}, 30), Step({}, 24), Step({}, 3), Step({}, 20)])
@example([Step(_ALL, 0), Step({40: Sample(1.0), 70: Sample(2.0)}, 40, replace=37)])
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
async def test_any_sequence_of_stores_follows_the_rules(
    database: Database,
    sql: asyncpg.Connection,
    series: int,
    other_series: int,
    steps: list[Step],
) -> None:
    await _empty(sql)
    await store(database, other_series, {NOON: 1.0})
    model = SeriesModel()
    for step in steps:
        before = await _versions(sql, series)
        stored, expected = await _both(database, series, model, step)
        assert stored == expected
        await _assert_holds(sql, series, model)
        after = await _versions(sql, series)
        for key in before.keys() & after.keys():
            (values, version), (values_now, version_now) = before[key], after[key]
            assert (values == values_now) == (version == version_now), key
    assert len(await hours_in(sql, other_series)) == 1


async def _both(
    database: Database, series: int, model: SeriesModel, step: Step
) -> tuple[Stored, Stored]:
    """Store in the database and in the model."""
    newest = None
    if step.newest is not None:
        minutes, price, cap, volume = step.newest
        newest = NewestPrice(series, START + timedelta(minutes=minutes), price, cap, volume)
    samples = hours_after(START, step.samples)
    about: dict[str, Any] = {
        "asked_from": START + step.asked * HOUR,
        "replace_from": None if step.replace is None else START + step.replace * HOUR,
        "newest": newest,
    }
    return await store(database, series, samples, **about), model.store(samples, **about)


async def _assert_holds(sql: asyncpg.Connection, series: int, model: SeriesModel) -> None:
    rows = await sql.fetch("SELECT * FROM price_hourly WHERE series_id = $1", series)
    assert {row["bucket"]: tuple(row)[2:] for row in rows} == model.hours
    assert await days_in(sql, series) == model.days
    latest = await sql.fetchrow("SELECT * FROM price_latest WHERE series_id = $1", series)
    assert (None if latest is None else tuple(latest)[1:]) == model.latest
    known = await sql.fetchrow(
        "SELECT revision, history_from, first_bucket, last_bucket FROM series WHERE id = $1", series
    )
    assert known is not None
    edges = min(model.hours, default=None), max(model.hours, default=None)
    assert tuple(known) == (model.revision, model.history_from, *edges)


async def _versions(sql: asyncpg.Connection, series: int) -> dict[Any, tuple[Any, ...]]:
    """Each row's values, and who wrote it where."""
    found: dict[Any, tuple[Any, ...]] = {}
    for table in ("price_hourly", "price_daily"):
        for row in await sql.fetch(
            f"SELECT xmin::text || ctid::text AS version, * FROM {table} WHERE series_id = $1",  # noqa: S608 - a test's own name
            series,
        ):
            found[table, row[2]] = tuple(row)[3:], row["version"]
    return found


async def _empty(sql: asyncpg.Connection) -> None:
    await sql.execute("DELETE FROM price_hourly")
    await sql.execute("DELETE FROM price_daily")
    await sql.execute("DELETE FROM price_latest")
    await sql.execute(
        "UPDATE series SET revision = 0, "
        "history_from = NULL, first_bucket = NULL, last_bucket = NULL, charted_to = NULL"
    )


async def test_a_mean_does_not_depend_on_how_its_hours_came(
    database: Database, sql: asyncpg.Connection, series: int, other_series: int
) -> None:
    samples = {START + hour * HOUR: Sample(61_000.123 / (hour + 1.7)) for hour in range(48)}
    await store(database, series, samples)
    for at in sorted(samples, key=lambda at: (at.hour * 7 % 24, at)):
        await store(database, other_series, {at: samples[at]})
    means = await sql.fetch("SELECT day, price FROM price_daily ORDER BY day, series_id")
    assert len(means) == 4
    assert means[0] == means[1]
    assert means[2] == means[3]


async def test_the_mean_of_a_constant_price_is_that_price(
    database: Database, sql: asyncpg.Connection, series: int
) -> None:
    for count in range(1, 24):
        first = START + count * DAY
        await store(database, series, {first + hour * HOUR: 0.1 for hour in range(count)})
    means = await sql.fetch("SELECT DISTINCT price FROM price_daily")
    assert [row["price"] for row in means] == [0.1]
