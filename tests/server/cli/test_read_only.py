"""Read-only commands write nothing: no row, no table, no database."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from models import coins as coin_rows
from models.postgres.database import Database
from models.postgres.migrate import newest_revision
from server.bootstrap import seeds
from simulator import Simulator
from tests.server.commands import one_line, run, run_concurrently
from tests.serving import live_server, make_settings

pytestmark = pytest.mark.processes
READING = [("status",), ("refresh", "--dry-run"), ("remove-coin", "bitcoin", "--dry-run")]


async def everything(sql: asyncpg.Connection) -> dict[str, Any]:
    """Dump a whole database: its objects, each row with its transaction, and its sequences."""
    tables = await sql.fetch(
        "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables "
        "WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
    )
    dump = {
        name: sorted(map(str, await sql.fetch(f"SELECT xmin, ctid, * FROM {name}")))  # noqa: S608 - of the catalogue
        for (name,) in tables
    }
    dump["objects"] = sorted(map(str, await sql.fetch("SELECT oid, relname FROM pg_class")))
    dump["sequences"] = list(map(str, await sql.fetch("SELECT * FROM pg_sequences")))
    return dump


@pytest.fixture
async def bitcoin(database: Database) -> Database:
    """The database of a server that tracks only bitcoin."""
    async with database.write() as session:
        await coin_rows.seed(session, seeds.coins(["bitcoin"]), seeds.currencies(["usd"]))
    return database


@pytest.fixture
async def reader_url(
    database_url: str, bitcoin: Database, sql: asyncpg.Connection
) -> AsyncIterator[str]:
    """The URL of that database for a read-only role."""
    role = f"reader_{bitcoin.url.database}"
    await sql.execute(f"CREATE ROLE {role} LOGIN")
    await sql.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
    await sql.execute(f"ALTER ROLE {role} SET default_transaction_read_only = on")
    yield database_url.replace("//coingraph@", f"//{role}@").replace("//postgres@", f"//{role}@")
    await sql.execute(f"DROP OWNED BY {role}")
    await sql.execute(f"DROP ROLE {role}")


async def test_settings_of_another_shell_change_nothing(
    reader_url: str, sql: asyncpg.Connection
) -> None:
    """In a shell with other COINS, with a read-only role."""
    before = await everything(sql)
    for done in await read({"DATABASE_URL": reader_url, "COINS": "ethereum"}):
        said = [line for line in done.stderr.splitlines() if b"takes no writes" not in line]
        assert (done.returncode, said) == (0, []), done.stderr.decode()
    assert await everything(sql) == before


async def read(
    variables: Mapping[str, str], cwd: Path | None = None
) -> list[subprocess.CompletedProcess[bytes]]:
    """Run all read-only commands."""
    return await asyncio.gather(*(run_concurrently(command, variables, cwd) for command in READING))


async def test_the_api_lists_what_its_server_tracks(
    database_url: str, shared_simulator: Simulator
) -> None:
    settings = make_settings(database_url, shared_simulator, coins="bitcoin", currencies="usd")
    async with live_server(settings) as server:
        done = await run_concurrently(["status"], {"DATABASE_URL": database_url})
        assert (done.returncode, b"bitcoin" in done.stdout) == (0, True), done.stderr.decode()
        data = await server.data("{ coins { totalCount nodes { id tracked } } }")
    assert data["coins"] == {"totalCount": 1, "nodes": [{"id": "bitcoin", "tracked": True}]}


async def test_a_plan_for_unseeded_coins(
    bitcoin: Database, database_url: str, sql: asyncpg.Connection
) -> None:
    """The plan includes coins that the refresh would add."""
    before = await everything(sql)
    more = {"COINS": "ethereum,bitcoin,tron", "CURRENCIES": "usd,eur"}
    done = run(["refresh", "--dry-run"], {"DATABASE_URL": database_url, **more})
    rows = [line.split()[:3] for line in done.stdout.decode().splitlines() if "FIRST_LOAD" in line]
    assert rows == [
        [coin, currency, "FIRST_LOAD"]
        for currency in ("usd", "eur")
        for coin in ("ethereum", "bitcoin", "tron")
    ]
    assert "3 of them for coins' metadata" in done.stdout.decode()
    assert await everything(sql) == before


async def test_a_database_without_tables(empty_url: str) -> None:
    for done in await read({"DATABASE_URL": empty_url, "COINS": "tron"}):
        assert one_line(done) == "The database has no tables yet: run `coingraph migrate`."
    sql = await asyncpg.connect(empty_url.replace("+asyncpg", ""))
    try:
        assert await sql.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname='public'") == 0
    finally:
        await sql.close()


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("0001", f"is at migration 0001, not {newest_revision()}: run `coingraph migrate`."),
        (
            "9999",
            f"is at migration 9999, this coingraph knows {newest_revision()}: start the newer",
        ),
    ],
)
async def test_a_database_of_another_version(
    database_url: str, sql: asyncpg.Connection, version: str, words: str
) -> None:
    await sql.execute("UPDATE alembic_version SET version_num = $1", version)
    assert words in one_line(run(["status"], {"DATABASE_URL": database_url}))
    assert await sql.fetchval("SELECT version_num FROM alembic_version") == version


async def test_no_embedded_database_is_created(tmp_path: Path) -> None:
    for done in await read({"COINS": "tron"}, tmp_path):
        line = one_line(done)
        assert line.startswith("There is no database in DATA_DIR (.coingraph) yet: ")
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - and it does not block


async def test_migrate_creates_tables_without_coins(empty_url: str) -> None:
    done = run(["migrate"], {"DATABASE_URL": empty_url})
    assert done.returncode == 0, done.stderr.decode()
    sql = await asyncpg.connect(empty_url.replace("+asyncpg", ""))
    try:
        assert await sql.fetchval("SELECT version_num FROM alembic_version") == newest_revision()
        assert await sql.fetchval("SELECT count(*) FROM coin") == 0
    finally:
        await sql.close()
