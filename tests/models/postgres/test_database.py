"""Reading past SQLAlchemy's sessions: connections, and what becomes of them."""

import asyncio
import logging

import asyncpg
import pytest
from sqlalchemy import event

from models.postgres import database as subject
from models.postgres.database import Database, DatabaseUnavailableError

CONNECTIONS = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name = 'coingraph'"
)


async def until(sql: asyncpg.Connection, true: str) -> None:
    async with asyncio.timeout(60):
        while not await sql.fetchval(true):  # noqa: ASYNC110 - it is another process that changes
            await asyncio.sleep(0.01)


async def test_more_readers_than_connections(
    database_url: str, sql: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    small = Database(database_url, pool_size=2)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            rows = await asyncio.gather(
                *(small.fetch("SELECT $1::int, pg_sleep(0.01)", number) for number in range(30))
            )
            assert [row[0][0] for row in rows] == list(range(30))
            async with small.read() as session:
                await session.connection()
    assert not caplog.records
    await until(sql, f"SELECT ({CONNECTIONS}) <= 3")  # those beyond the pool and one are closed
    await small.close()
    await until(sql, f"SELECT ({CONNECTIONS}) = 0")


async def test_a_reader_that_is_cancelled_leaves_nothing_behind(
    database: Database, sql: asyncpg.Connection
) -> None:
    for _ in range(30):
        reader = asyncio.create_task(database.fetch("SELECT pg_sleep(30)"))
        await until(
            sql,
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()"
            " AND query = 'SELECT pg_sleep(30)')",
        )
        reader.cancel()
        await asyncio.wait([reader])
        assert reader.cancelled()
    [row] = await database.fetch("SELECT 7")
    assert row[0] == 7


async def test_a_database_that_refuses_is_unavailable(database_url: str) -> None:
    nowhere = Database(database_url.replace("/coingraph_test", "/not_there"))
    with pytest.raises(DatabaseUnavailableError):
        await nowhere.fetch("SELECT 1")
    await nowhere.close()


@pytest.mark.slow
async def test_a_statement_that_takes_too_long_is_given_up(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "READ_SECONDS", 1.0)
    with pytest.raises(DatabaseUnavailableError):
        await database.fetch("SELECT pg_sleep(30)")
    [row] = await database.fetch("SELECT 7")
    assert row[0] == 7


async def test_an_error_of_the_statement_is_raised(database: Database) -> None:
    with pytest.raises(asyncpg.UndefinedTableError):
        await database.fetch("SELECT * FROM nothing")
    [row] = await database.fetch("SELECT 7")
    assert row[0] == 7


async def test_reads_in_parallel_pass_connections_on(database: Database) -> None:
    """The way into the pool and out again costs more than twice what a small statement does."""
    taken = 0

    def count(*_: object) -> None:
        nonlocal taken
        taken += 1

    event.listen(database.engine.sync_engine, "checkout", count)

    async def read() -> None:
        for _ in range(20):
            await database.fetch("SELECT 1")

    await asyncio.gather(*(read() for _ in range(50)))
    assert 0 < taken <= 100, "of 1,000"
