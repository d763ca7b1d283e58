"""Advisory locks: one holder, and no doubt about who it is."""

import asyncio

import asyncpg
import pytest

from models.postgres.advisory_lock import AdvisoryLock
from models.postgres.database import Database, DatabaseUnavailableError


async def test_a_lock_has_one_holder_and_is_free_after_it(database: Database) -> None:
    one, other = (AdvisoryLock(database, 42) for _ in range(2))
    assert await one.acquire()
    assert not await other.acquire()
    await one.verify()
    await one.release()
    assert await other.acquire()
    await other.release()
    await other.release()
    with pytest.raises(DatabaseUnavailableError):
        await other.verify()


async def test_a_lock_that_was_lost_stays_lost(database: Database, sql: asyncpg.Connection) -> None:
    lock, other = (AdvisoryLock(database, 42) for _ in range(2))
    async with lock, other:
        assert await lock.acquire()
        held = (
            " FROM pg_locks WHERE locktype = 'advisory' AND database ="
            " (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        await sql.execute(f"SELECT pg_terminate_backend(pid){held}")
        while await sql.fetchval(f"SELECT count(*){held}"):  # noqa: ASYNC110 - likewise
            await asyncio.sleep(0.01)
        for _ in range(3):
            with pytest.raises(DatabaseUnavailableError):
                await lock.verify()
        assert await other.acquire()
        with pytest.raises(DatabaseUnavailableError):
            await lock.add(43)


async def test_a_cancelled_release_releases(database: Database) -> None:
    lock, other = (AdvisoryLock(database, 42) for _ in range(2))
    assert await lock.acquire()
    releasing = asyncio.create_task(lock.release())
    await asyncio.sleep(0)
    releasing.cancel()
    await asyncio.wait([releasing])
    async with other:
        async with asyncio.timeout(60):
            while not await other.acquire():  # noqa: ASYNC110 - what PostgreSQL does
                await asyncio.sleep(0.02)


async def test_nobody_there_is_one_sentence() -> None:
    nowhere = Database("postgresql://someone:secret@127.0.0.1:1/x")
    for use in (AdvisoryLock(nowhere, 1).acquire(), nowhere.check()):
        with pytest.raises(DatabaseUnavailableError) as caught:
            await use
        assert "secret" not in str(caught.value)
    await nowhere.close()
