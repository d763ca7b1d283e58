"""Hearing of changes on a real PostgreSQL: all of them, or knowing that some may be missed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import text

from models.postgres.database import Database, WriteSession
from models.postgres.notifications import (
    APPLICATION_NAME,
    CHANNEL,
    NOTIFY_SERIES,
    Listener,
    notify_catalogue,
    notify_run,
)
from tests.server.proxy import proxy_to

ANYTHING = ("anything",)


class Ear:
    """Notes what it hears."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[tuple[Any, ...]] = asyncio.Queue()

    def series_changed(self, series_id: int, revision: int) -> None:
        self.heard.put_nowait((series_id, revision))

    def catalogue_changed(self) -> None:
        self.heard.put_nowait(("catalogue",))

    def run_changed(self, run_id: str) -> None:
        self.heard.put_nowait(("run", run_id))

    def anything_changed(self) -> None:
        self.heard.put_nowait(ANYTHING)

    async def next(self) -> tuple[Any, ...]:
        return await asyncio.wait_for(self.heard.get(), 60)

    async def next_but(self, passed: tuple[Any, ...]) -> tuple[Any, ...]:
        while (heard := await self.next()) == passed:
            pass
        return heard


@contextlib.asynccontextmanager
async def listening(database: Database, *ears: Ear) -> AsyncIterator[Listener]:
    """A listener that listens, and has notified all subscribers."""
    listener = Listener(database)
    for ear in ears:
        listener.subscribe(ear)
    task = asyncio.create_task(listener.run())
    try:
        for ear in ears:
            assert await ear.next() == ANYTHING
        assert listener.listening
        yield listener
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert not listener.listening


async def notify(sql: asyncpg.Connection, payload: str) -> None:
    await sql.execute("SELECT pg_notify($1, $2)", CHANNEL, payload)


async def notify_series(session: WriteSession, series: int, revision: int) -> None:
    written = f"SELECT {series} AS id, 1 AS revision, {revision} AS deployment_revision"
    notify = f"SELECT {NOTIFY_SERIES} FROM ({written}) AS written"  # noqa: S608 - numbers
    await session.execute(text(notify))


async def test_all_parties_hear_of_a_commit(database: Database) -> None:
    one, other = Ear(), Ear()
    async with listening(database, one, other) as listener:
        async with database.write() as session:
            await notify_series(session, 7, 3)
            await notify_catalogue(session)
            await notify_run(session, UUID(int=9))
            await listener.catch_up()
            assert one.heard.empty()
        for ear in (one, other):
            received = [await ear.next() for _ in range(3)]
            assert received == [(7, 3), ("catalogue",), ("run", str(UUID(int=9)))]
        listener.unsubscribe(other)
        async with database.write() as session:
            await notify_series(session, 7, 4)
        assert await one.next() == (7, 4)
        assert other.heard.empty()


async def test_catching_up_hears_whatever_was_committed_before(
    database: Database, sql: asyncpg.Connection
) -> None:
    ear = Ear()
    async with listening(database, ear) as listener:
        for revision in range(200):
            await notify(sql, f'{{"series": 1, "deployment": {revision}}}')
            await listener.catch_up()
            assert ear.heard.get_nowait() == (1, revision)
        await asyncio.gather(*(listener.catch_up() for _ in range(20)))


@pytest.mark.slow
@pytest.mark.parametrize(
    "payload",
    [
        "", "no JSON", "{", "null", "1", "[]", "{}", '{"series": "1", "deployment": 2}',
        '{"series": 1}', '{"series": null, "deployment": 1}', '{"series": 1, "revision": 2}',
        '{"catalogue": false}', '"catalogue"', '{"run": 7}', '{"run": null}',
        "[" * 3_000, '{"series": 1.5, "deployment": 1}', '{"series": 1e400, "deployment": 1}',
    ],
)  # fmt: skip
async def test_what_anybody_may_send(
    database: Database, sql: asyncpg.Connection, payload: str
) -> None:
    ear = Ear()
    async with listening(database, ear) as listener:
        await notify(sql, payload)
        assert await ear.next() == ANYTHING
        assert listener.listening
        await notify(sql, '{"series": 1, "deployment": 2}')
        assert await ear.next() == (1, 2)


async def test_a_failing_subscriber_does_not_affect_others(
    database: Database, sql: asyncpg.Connection
) -> None:
    class Deaf(Ear):
        def series_changed(self, series_id: int, revision: int) -> None:
            raise ZeroDivisionError

    deaf, ear = Deaf(), Ear()
    async with listening(database, deaf, ear) as listener:
        await notify(sql, '{"series": 1, "deployment": 2}')
        assert await ear.next() == (1, 2)
        assert listener.listening


async def test_a_connection_that_is_terminated(database: Database, sql: asyncpg.Connection) -> None:
    ear = Ear()
    async with listening(database, ear) as listener:
        for revision in (1, 2):
            killed = await sql.fetchval(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = $1",
                APPLICATION_NAME,
            )
            assert killed >= 1
            assert await ear.next() == ANYTHING, "at once, not when it listens again"
            while not listener.listening:
                assert await ear.next() == ANYTHING
            await notify(sql, f'{{"series": 1, "deployment": {revision}}}')
            assert await ear.next_but(ANYTHING) == (1, revision)


@pytest.mark.slow
async def test_a_connection_that_dies_without_a_word(
    database_url: str, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.postgres.notifications._PROBE_SECONDS", 1.0)
    ear = Ear()
    async with proxy_to(database_url) as proxy:
        database = Database(proxy.url)
        async with listening(database, ear) as listener:
            proxy.freeze()
            await notify(sql, '{"series": 1, "deployment": 1}')
            assert await ear.next() == ANYTHING
            assert not listener.listening
            await listener.catch_up()  # which there is nothing to do for
            proxy.thaw()
            while not listener.listening:
                assert await ear.next() == ANYTHING
            await notify(sql, '{"series": 1, "deployment": 2}')
            assert await ear.next_but(ANYTHING) == (1, 2)
        await database.close()


async def test_a_server_that_goes_and_returns(database_url: str, sql: asyncpg.Connection) -> None:
    ear = Ear()
    async with proxy_to(database_url) as proxy:
        database = Database(proxy.url)
        async with listening(database, ear) as listener:
            await proxy.cut()
            assert await ear.next() == ANYTHING
            assert not listener.listening
            await notify(sql, '{"series": 1, "deployment": 1}')
            await proxy.restore()
            while not listener.listening:
                assert await ear.next() == ANYTHING, "notifications sent meanwhile were missed"
            await notify(sql, '{"series": 1, "deployment": 2}')
            assert await ear.next_but(ANYTHING) == (1, 2)
        await database.close()
