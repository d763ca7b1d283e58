"""A database that is read-only for a while, or when a server starts."""

import asyncpg
import pytest
from sqlalchemy import text

from models.postgres.advisory_lock import AdvisoryLock
from models.postgres.database import Database, DatabaseReadOnlyError
from server import app
from simulator import Simulator
from tests.server.system.test_database_unavailable import PRICES, REFRESH, unavailable, until
from tests.serving import TOKEN, LiveServer, connected, live_server, make_settings

INSERT = text("INSERT INTO currency VALUES ('x', 'X', 'x')")
STATE = "{ coins { nodes { id } } }"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "_RETRY_SECONDS", 0.3)


async def read_only(sql: asyncpg.Connection, value: str) -> None:
    """Make new sessions read-only; open ones stay as they are."""
    await sql.execute("SET default_transaction_read_only = off")
    name = await sql.fetchval("SELECT current_database()")
    await sql.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = {value}")


async def end_others(sql: asyncpg.Connection) -> None:
    await sql.execute(
        "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


async def refreshes(server: LiveServer) -> bool:
    answer = await server.post(REFRESH, token=TOKEN)
    return answer.status_code == 200 and "SUCCEEDED" in answer.text


@pytest.mark.slow
async def test_a_database_that_is_read_only_for_a_while(
    server: LiveServer, sql: asyncpg.Connection
) -> None:
    before = await server.data(PRICES)
    await read_only(sql, "on")
    await end_others(sql)
    refused = await server.post(REFRESH, token=TOKEN)
    while "takes no writes" not in refused.text:  # while its connections are being opened again
        unavailable(refused)
        refused = await server.post(REFRESH, token=TOKEN)
    unavailable(refused)
    assert await server.data(PRICES) == before
    ready = await server.http.get("/health/ready")
    assert (ready.status_code, ready.json()["database"]) == (200, "read-only")
    await read_only(sql, "off")
    assert await refreshes(server), "at once: who writes looks first"
    await until(lambda: server_is(server, "reachable"))


@pytest.mark.slow
async def test_a_server_starts_on_a_read_only_database(
    database_url: str, sql: asyncpg.Connection, shared_simulator: Simulator
) -> None:
    settings = make_settings(database_url, shared_simulator)
    async with live_server(settings) as server:
        await until(lambda: refreshes(server))
        before = await server.data(PRICES)
    await read_only(sql, "on")
    more = make_settings(database_url, shared_simulator, coins="bitcoin,ethereum,solana")
    async with live_server(more) as server:
        assert await server.data(PRICES) == before
        assert await server_is(server, "read-only")
        refused = await server.post(REFRESH, token=TOKEN)
        unavailable(refused)
        assert "takes no writes" in refused.text
        await read_only(sql, "off")
        await until(lambda: refreshes(server))
        await until(lambda: has_coin(server, "solana"))
        await until(lambda: server_is(server, "reachable"))


async def test_an_empty_database_that_is_read_only(
    empty_url: str, shared_simulator: Simulator
) -> None:
    """No data can be read until it is writable."""
    async with connected(empty_url) as sql:
        await read_only(sql, "on")
        settings = make_settings(empty_url, shared_simulator)
        async with live_server(settings, ready=False) as server:
            unavailable(await server.post(PRICES))
            await read_only(sql, "off")
            await until(lambda: has_coin(server, "bitcoin"))


async def test_a_read_only_database_holds_no_lock(
    database: Database, sql: asyncpg.Connection
) -> None:
    lock = AdvisoryLock(database, 42)
    async with lock:
        assert await lock.acquire()
        await read_only(sql, "on")
        await lock.verify()  # its session may still write
        with pytest.raises(DatabaseReadOnlyError):
            await AdvisoryLock(database, 43).acquire()
        await read_only(sql, "off")


async def test_a_rejected_write_ends_its_session(
    database: Database, sql: asyncpg.Connection
) -> None:
    for _ in range(2):
        with pytest.raises(DatabaseReadOnlyError):
            await refused_write(database)
        async with database.write() as session:
            await session.execute(INSERT)
        await sql.execute("DELETE FROM currency")
    await database.statement("INSERT INTO currency VALUES ('y', 'Y', 'y')")


async def refused_write(database: Database) -> None:
    async with database.write() as session:
        await session.execute(text("SET TRANSACTION READ ONLY"))
        await session.execute(INSERT)


async def server_is(server: LiveServer, state: str) -> bool:
    ready = await server.http.get("/health/ready")
    return (ready.status_code, ready.json()["database"]) == (200, state)


async def has_coin(server: LiveServer, coin: str) -> bool:
    answer = await server.post(STATE)
    return answer.status_code == 200 and coin in answer.text
