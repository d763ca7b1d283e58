"""Columns out of PostgreSQL, against a plain SELECT."""

import asyncio
import itertools
import math
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from random import Random
from typing import Any

import asyncpg
import numpy as np
import pytest

from models.postgres.database import Database
from models.prices.granularity import Granularity
from models.prices.read import PriceWindow, SeriesColumns, read_windows
from tests.counting import statements
from tests.models.storing import DAY, HOUR, Sample, store

START = datetime(1999, 12, 20, tzinfo=UTC)  # PostgreSQL's own epoch lies in the middle
END = START + 30 * DAY
TABLES = {
    Granularity.HOUR: ("price_hourly", "bucket", "1"),
    Granularity.DAY: ("price_daily", "day", "samples"),
}


@pytest.fixture
async def filled(database: Database, series: int, other_series: int) -> tuple[int, int]:
    """Two series with gaps and nulls."""
    draw = Random(3)  # noqa: S311 - a test
    for each in (series, other_series):
        samples: dict[datetime, Sample | float] = {
            START + number * HOUR: Sample(
                draw.lognormvariate(0, 9),
                draw.choice([None, draw.random()]) if number // 24 != 7 else None,
                draw.choice([None, 0.0]),
                late=draw.uniform(0, 3599),
            )
            for number in range(30 * 24)
            if draw.random() > 0.2 and number // 24 != 5
        }
        await store(database, each, samples)
    return series, other_series


async def columns(
    database: Database,
    granularity: Granularity,
    ids: Sequence[int],
    start: datetime = START,
    end: datetime = END,
    *,
    limit: int | None = None,
    **more: Any,
) -> dict[int, SeriesColumns]:
    """Read by way of the names; a series that is not there is left out."""
    rows = await database.fetch("SELECT id, coin_id, currency_code FROM series")
    names = {row["id"]: (row["coin_id"], row["currency_code"]) for row in rows}
    most = 2**31 - 1 if limit is None else limit
    windows = [PriceWindow(*names.get(each, ("no", "no")), start, end, most) for each in ids]
    found = await read_windows(database, granularity, windows, **more)
    parts = {each: part for each, part in zip(ids, found, strict=True) if part is not None}
    assert all(each == part.facts.id for each, part in parts.items())
    return {each: part.columns for each, part in parts.items()}


def rows_of(found: SeriesColumns) -> list[tuple[Any, ...]]:
    """Turn columns back into rows; NaN stands for null."""
    parts = [found.timestamps, found.price, found.market_cap, found.volume, found.samples]
    if found.observed_at is not None:
        parts.append(found.observed_at)
    else:
        assert found.open is not None
        parts += [found.open, found.high, found.low, found.close]
    lists = [part.tolist() for part in parts if part is not None]
    assert {len(each) for each in lists} == {len(found)}
    return [tuple(map(_known, row)) for row in zip(*lists, strict=True)]


def _known(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC)
    return None if isinstance(value, float) and math.isnan(value) else value


async def plain(
    sql: asyncpg.Connection, granularity: Granularity, series: int, where: str = "", tail: str = ""
) -> list[tuple[Any, ...]]:
    table, bucket, samples = TABLES[granularity]
    more = "observed_at" if granularity is Granularity.HOUR else "open, high, low, close"
    query = (
        f"SELECT {bucket}, price, market_cap, volume, {samples}, {more} FROM {table} "  # noqa: S608 - a test's own names
        f"WHERE series_id = $1 {where} ORDER BY {bucket} {tail}"
    )

    def moment(value: Any) -> Any:
        if isinstance(value, date) and not isinstance(value, datetime):
            return datetime.combine(value, time.min, UTC)
        return value

    return [tuple(map(moment, row)) for row in await sql.fetch(query, series)]


@pytest.mark.slow
@pytest.mark.parametrize("granularity", TABLES)
async def test_columns_are_the_tables_rows(
    database: Database, sql: asyncpg.Connection, filled: tuple[int, int], granularity: Granularity
) -> None:
    for descending, limit in itertools.product((False, True), (None, 0, 1, 7, 100_000)):
        found = await columns(database, granularity, filled, descending=descending, limit=limit)
        tail = ("DESC" if descending else "ASC") + ("" if limit is None else f" LIMIT {limit}")
        for series in filled:
            rows = await plain(sql, granularity, series, tail=tail)
            assert rows_of(found[series]) == rows
            if limit is None:
                assert len(rows) > (500 if granularity is Granularity.HOUR else 28)
                assert any(row[2] is None for row in rows)


@pytest.mark.parametrize("granularity", TABLES)
async def test_a_range_has_its_start_and_not_its_end(
    database: Database, sql: asyncpg.Connection, filled: tuple[int, int], granularity: Granularity
) -> None:
    step, second = HOUR if granularity is Granularity.HOUR else DAY, timedelta(seconds=1)
    first = START + 8 * DAY
    bucket = TABLES[granularity][1]
    for start, end in (
        (first, first + 5 * step),
        (first - second, first + 5 * step + second),
        (first + second, first + 5 * step - second),
        (first + second, first + 2 * second),
        (first, first),
        (first + step, first),
    ):
        found = await columns(database, granularity, filled[:1], start, end)
        rows = await plain(sql, granularity, filled[0])
        expected = [row for row in rows if start <= row[0] < end]
        assert rows_of(found[filled[0]]) == expected, (start, end, bucket)


async def test_any_offset_names_the_same_days(database: Database, filled: tuple[int, int]) -> None:
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - only here

    start = datetime(2000, 1, 1, 13, tzinfo=ZoneInfo("Pacific/Auckland"))  # midnight UTC
    found = await columns(database, Granularity.DAY, filled[:1], start, start + 2 * DAY)
    days = found[filled[0]].timestamps.astype("datetime64[D]").tolist()
    assert days == [date(2000, 1, 1), date(2000, 1, 2)]


@pytest.mark.slow
@pytest.mark.parametrize("granularity", Granularity)
async def test_the_whole_calendar_can_be_asked_for(
    database: Database, filled: tuple[int, int], granularity: Granularity
) -> None:
    start, end = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    whole = await columns(database, granularity, filled[:1], start, end)
    assert rows_of(whole[filled[0]]) == rows_of(
        (await columns(database, granularity, filled[:1], START - 31 * DAY))[filled[0]]
    )
    assert len((await columns(database, granularity, filled[:1], end, end))[filled[0]]) == 0


@pytest.mark.parametrize("granularity", TABLES)
async def test_nothing_is_an_empty_column(
    database: Database, series: int, granularity: Granularity
) -> None:
    found = await columns(database, granularity, [series, 999])
    assert {name: rows_of(each) for name, each in found.items()} == {series: []}
    price = found[series].price
    assert price is not None
    assert price.dtype == np.float64
    assert await columns(database, granularity, []) == {}


async def test_the_head_is_the_first_buckets(database: Database, filled: tuple[int, int]) -> None:
    for granularity in TABLES:
        found = (await columns(database, granularity, filled[:1]))[filled[0]]
        assert rows_of(found.head(3)) == rows_of(found)[:3]
        assert (found.head(3).open is None) == (granularity is Granularity.HOUR)


async def test_many_windows_are_one_statement(
    database: Database, sql: asyncpg.Connection, filled: tuple[int, int]
) -> None:
    """Each with its own range and its own limit, the same series twice among them."""
    windows = [
        PriceWindow("bitcoin", currency, START + day * DAY, START + (day + 3) * DAY, most)
        for day, most in ((0, 5), (4, 50), (27, 500))
        for currency in ("usd", "eur", "nope")
    ]
    async with statements(database) as sent:
        found = await read_windows(database, Granularity.HOUR, windows)
        await asyncio.sleep(0)  # asyncpg notifies of it in the loop's next turn
    assert len(sent) == 1
    for window, part in zip(windows, found, strict=True):
        if window.currency_code == "nope":
            assert part is None
            continue
        assert part is not None
        facts, read = part.facts, part.columns
        assert (facts.coin_id, facts.currency_code) == ("bitcoin", window.currency_code)
        rows = await plain(sql, Granularity.HOUR, facts.id)
        expected = [row for row in rows if window.start <= row[0] < window.end]
        assert rows_of(read) == expected[: window.most]


@pytest.mark.parametrize("granularity", TABLES)
async def test_only_requested_columns_are_read(
    database: Database, filled: tuple[int, int], granularity: Granularity
) -> None:
    whole = (await columns(database, granularity, filled[:1]))[filled[0]]
    asked = frozenset({"volume", "close"})
    some = (await columns(database, granularity, filled[:1], columns=asked))[filled[0]]
    assert (some.price, some.market_cap, some.open, some.observed_at) == (None,) * 4
    np.testing.assert_array_equal(some.volume, whole.volume)
    np.testing.assert_array_equal(some.timestamps, whole.timestamps)
    assert (some.close is None) == (granularity is Granularity.HOUR)


async def test_a_connection_that_died_is_not_noticed(
    database: Database, sql: asyncpg.Connection, filled: tuple[int, int]
) -> None:
    """Whatever the pool holds, and again at once."""
    for _ in range(3):
        await asyncio.gather(*(columns(database, Granularity.DAY, filled) for _ in range(5)))
        await sql.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert await columns(database, Granularity.DAY, filled)
