"""A transaction is whole or absent, also when others write, listen or pull the plug."""

import asyncio
import json
from typing import Any

import asyncpg
import pytest

from models.postgres.database import Database, DatabaseUnavailableError
from models.postgres.notifications import CHANNEL
from models.prices.write_latest import NewestPrice, store_quotes
from models.prices.write_series import store_series
from tests.models.storing import (
    HOUR,
    LONG_AGO,
    NOON,
    days_in,
    days_of,
    hours_in,
    hours_of,
    revision,
    run_of_hours,
    store,
)

_EVERYTHING = """
    SELECT (SELECT count(*) FROM price_hourly), (SELECT count(*) FROM price_daily),
           (SELECT count(*) FROM price_latest), (SELECT sum(revision) FROM series),
           (SELECT count(*) FROM series WHERE history_from IS NOT NULL)
"""


async def test_listeners_hear_of_a_change_when_it_is_there(
    database: Database, sql: asyncpg.Connection, series: int, other_series: int
) -> None:
    heard: asyncio.Queue[dict[str, int]] = asyncio.Queue()

    def hear(*message: Any) -> None:
        heard.put_nowait(json.loads(message[-1]))

    await sql.add_listener(CHANNEL, hear)
    hours = hours_of(run_of_hours(NOON, [1.0]))
    async with database.write() as session:
        await store_series(session, series, hours, None, asked_from=LONG_AGO)
        await sql.execute("SELECT 1")
        assert heard.empty()
    assert await asyncio.wait_for(heard.get(), 60) == {
        "series": series, "revision": 1, "deployment": 1,
    }  # fmt: skip
    await store(database, series, run_of_hours(NOON, [1.0]))  # changes nothing
    async with database.write() as session:
        quotes = [NewestPrice(each, NOON, 1.0, None, None) for each in (series, other_series)]
        await store_quotes(session, quotes)
    messages = [await asyncio.wait_for(heard.get(), 60) for _ in range(2)]
    assert {(each["series"], each["revision"]) for each in messages} == {
        (series, 2),
        (other_series, 1),
    }
    await sql.execute("SELECT 1")
    assert heard.empty()
    await sql.remove_listener(CHANNEL, hear)


class PowerCutError(Exception):
    pass


async def test_a_rollback_leaves_nothing(
    database: Database, sql: asyncpg.Connection, series: int
) -> None:
    before = await sql.fetchrow(_EVERYTHING)
    heard: list[object] = []
    await sql.add_listener(CHANNEL, lambda *message: heard.append(message))

    async def store_and_fail() -> None:
        async with database.write() as session:
            newest = NewestPrice(series, NOON, 1.0, None, None)
            hours = hours_of(run_of_hours(NOON, [1.0, 2.0]))
            await store_series(session, series, hours, newest, asked_from=LONG_AGO)
            raise PowerCutError

    with pytest.raises(PowerCutError):
        await store_and_fail()
    assert await sql.fetchrow(_EVERYTHING) == before
    assert heard == []
    # the connection is used again
    assert (await store(database, series, {})).inserted == 0
    await sql.reset()


async def test_a_connection_that_is_cut_leaves_nothing(
    database: Database, sql: asyncpg.Connection, series: int
) -> None:

    async def store_and_be_cut() -> None:
        async with database.write() as session:
            hours = hours_of(run_of_hours(NOON, [1.0, 2.0]))
            await store_series(session, series, hours, None, asked_from=LONG_AGO)
            await sql.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'coingraph' AND datname = current_database()"
            )

    with pytest.raises(DatabaseUnavailableError):
        await store_and_be_cut()
    assert await hours_in(sql, series) == {}
    assert await revision(sql, series) == 0
    assert (await store(database, series, run_of_hours(NOON, [1.0]))).inserted == 1


async def test_two_writers_of_one_series_take_turns(
    database: Database, sql: asyncpg.Connection, series: int
) -> None:
    async def write(number: int) -> None:
        await store(database, series, run_of_hours(NOON, [float(number)] * 30))

    await asyncio.gather(*map(write, range(8)))
    prices = {row[0] for row in (await hours_in(sql, series)).values()}
    assert len(prices) == 1
    stored = run_of_hours(NOON, [prices.pop()] * 30)
    assert await days_in(sql, series) == days_of(stored)
    assert await revision(sql, series) == 8


async def test_writers_of_one_series_see_what_the_others_wrote(
    database: Database, sql: asyncpg.Connection, series: int
) -> None:
    """Their ranges overlap: none inserts an hour twice, each hour is counted once."""
    everything = run_of_hours(NOON, [float(hour) for hour in range(40)])

    async def write(first: int) -> int:
        part = run_of_hours(NOON + first * HOUR, [float(first + hour) for hour in range(12)])
        return (await store(database, series, part)).inserted

    inserted = await asyncio.gather(*map(write, [28, 0, 7, 14, 21, 0, 28]))
    assert sum(inserted) == 40
    assert await days_in(sql, series) == days_of(everything)
    assert {at: row[0] for at, row in (await hours_in(sql, series)).items()} == everything
    assert await revision(sql, series) == 5
    known = await sql.fetchrow("SELECT first_bucket, last_bucket FROM series WHERE id = $1", series)
    assert known is not None
    assert tuple(known) == (NOON, NOON + 39 * HOUR)


async def test_writers_of_series_and_of_quotes_never_wait_for_each_other(
    database: Database, sql: asyncpg.Connection, series: int, other_series: int
) -> None:
    both = [series, other_series]

    async def write(number: int) -> None:
        each = both[number % 2]
        newest = NewestPrice(each, NOON + number * (NOON - NOON.replace(hour=11)), 1.0, None, None)
        await store(database, each, run_of_hours(NOON, [1.0, float(number)]), newest=newest)

    async def quote(number: int) -> None:
        async with database.write() as session:
            order = both if number % 2 else both[::-1]
            later = NOON + number * (NOON - NOON.replace(hour=11))
            await store_quotes(
                session, [NewestPrice(each, later, 2.0, None, None) for each in order]
            )

    # a deadlock would be an error of one of them
    await asyncio.gather(*(work(n) for n in range(12) for work in (write, quote)))


async def test_a_run_may_refer_to_a_series_while_it_is_written(
    database: Database, sql: asyncpg.Connection, series: int
) -> None:
    async with database.write() as session:
        hours = hours_of(run_of_hours(NOON, [1.0]))
        await store_series(session, series, hours, None, asked_from=LONG_AGO)
        run = "INSERT INTO refresh_run (id, status, trigger) VALUES ($1, 'RUNNING', 'COMMAND')"
        item = (
            "INSERT INTO refresh_run_item (run_id, series_id, status, reason) "
            "VALUES ($1, $2, 'PENDING', 'ROUTINE')"
        )
        run_id = "01900000-0000-7000-8000-000000000000"
        await sql.execute(run, run_id)
        await asyncio.wait_for(sql.execute(item, run_id, series), 60)
