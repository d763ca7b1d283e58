"""The schema: how it comes about, and that the tables' classes say the same."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlmodel import SQLModel

from ingestion.planning.plan import RefreshRequest, prepare
from models import tables
from models.history import TrackingScope
from models.postgres import migrate as migrating
from models.postgres.database import Database
from models.postgres.migrate import (
    MIGRATION_LOCK,
    NewerDatabaseError,
    alembic_config,
    current_revision,
    migrate,
    newest_revision,
)
from models.series import count_unloaded
from tests.serving import connected


@pytest.fixture
async def empty(empty_url: str) -> AsyncIterator[Database]:
    database = Database(empty_url)
    yield database
    await database.close()


def test_the_newest_file_is_alembics_head() -> None:
    assert ScriptDirectory.from_config(alembic_config()).get_heads() == [newest_revision()]


async def test_from_nothing_to_head_and_then_nothing_more(empty: Database) -> None:
    assert await current_revision(empty) is None
    assert await migrate(empty) is True
    assert await current_revision(empty) == newest_revision()
    assert await migrate(empty) is False


async def test_many_at_once_migrate_once(empty_url: str) -> None:
    databases = [Database(empty_url) for _ in range(5)]
    try:
        assert sorted(await asyncio.gather(*map(migrate, databases))) == [False] * 4 + [True]
        assert await current_revision(databases[0]) == newest_revision()
    finally:
        await asyncio.gather(*(database.close() for database in databases))


async def test_a_migration_that_fails_leaves_nothing(
    empty: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = migrating._upgrade  # noqa: SLF001 - the step that the power fails in

    def fail(connection: Connection) -> None:
        real(connection)
        raise RuntimeError("the power went")

    monkeypatch.setattr(migrating, "_upgrade", fail)
    with pytest.raises(RuntimeError):
        await migrate(empty)
    async with empty.read() as session:
        left = await session.scalar(
            text("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace")
        )
    assert left == 0
    monkeypatch.undo()
    assert await migrate(empty) is True


def _to(revision: str) -> Callable[[Connection], None]:
    def upgrade(connection: Connection) -> None:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)

    return upgrade


async def test_gaps_confirmed_by_the_old_rule_are_requested_again(
    empty: Database, empty_url: str
) -> None:
    """It took hours for upstream's own gaps after three answers, empty ones too."""
    async with empty.engine.begin() as connection:
        await connection.run_sync(_to("0006"))
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    start = now - timedelta(days=90)
    async with connected(empty_url) as sql:
        await sql.execute(
            "INSERT INTO coin (id, symbol, name) VALUES ('a', 'a', 'a'), ('b', 'b', 'b');"
            "INSERT INTO currency (code, name, symbol) VALUES ('usd', 'usd', '$');"
        )
        await sql.executemany(
            "INSERT INTO series (coin_id, currency_code, history_from, daily_from, first_bucket,"
            " last_bucket, charted_to, last_success_at) VALUES ($1, 'usd', $2, $2, $3, $3, $3, $4)",
            [("a", start, now - timedelta(hours=1), now), ("b", start, None, now)],
        )
        await sql.execute(
            "INSERT INTO price_hourly SELECT id, last_bucket, last_bucket, 1 FROM series"
            " WHERE coin_id = 'a'"
        )
        await sql.execute(
            "INSERT INTO price_gap SELECT id, $1, $2, 3 FROM series",
            start,
            now - timedelta(hours=1),
        )
    assert await migrate(empty) is True
    tracked = TrackingScope(("a", "b"), ("usd",), 90, timedelta(days=365))
    for only_due in (True, False):
        made = await prepare(empty, tracked, RefreshRequest(only_due=only_due), now)
        # the history of one was cut short, the other one's is not there at all
        assert [plan.reason for plan in made.plans] == ["BACKFILL", "FIRST_LOAD"]
        for plan in made.plans:
            assert plan.daily is not None
            assert min(window.start for window in plan.windows) <= start
            assert plan.windows[0].end == now
    assert await count_unloaded(empty, ["a", "b"], ["usd"]) == 1


STORED = {  # by earlier versions, and what is left of it
    "CoinGecko answered 400 (bad (user:pw) <b>)": "CoinGecko answered 400",
    "CoinGecko cannot be reached (ProxyError: x); 4 calls in a row failed, so no more were made: y":
        "CoinGecko cannot be reached; 4 calls in a row failed, so no more were made: y",
    "Days were not stored: CoinGecko answered 500 (a\nb)":
        "Days were not stored: CoinGecko answered 500",
    "CoinGecko's answer is encoded as user:pw": "CoinGecko's answer",
    "CoinGecko knows no coin 'x': correct COINS. Did you mean <b>?":
        "CoinGecko knows no coin 'x': correct COINS.",
    "CoinGecko gave 12 of 24 hours: what is missing is asked for again.":
        "CoinGecko gave 12 of 24 hours: what is missing is asked for again.",
}  # fmt: skip


async def test_words_of_upstream_that_are_stored_are_taken_out(
    empty: Database, empty_url: str
) -> None:
    async with empty.engine.begin() as connection:
        await connection.run_sync(_to("0008"))
    async with connected(empty_url) as sql:
        await sql.execute("INSERT INTO currency (code, name, symbol) VALUES ('usd', 'usd', '$')")
        names = [(f"c{number}", said) for number, said in enumerate(STORED)]
        await sql.executemany(
            "INSERT INTO coin (id, symbol, name) VALUES ($1, 'a', 'a')", [(n,) for n, _ in names]
        )
        await sql.executemany(
            "INSERT INTO series (coin_id, currency_code, last_error) VALUES ($1, 'usd', $2)", names
        )
        assert await migrate(empty) is True
        rows = await sql.fetch("SELECT last_error FROM series ORDER BY coin_id")
    assert [row["last_error"] for row in rows] == list(STORED.values())


async def test_a_newer_database_is_refused(database: Database, sql: asyncpg.Connection) -> None:
    await sql.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(NewerDatabaseError, match=r"is at migration 9999.*start the newer"):
        await migrate(database)


async def test_a_database_that_becomes_newer_while_we_wait_is_refused(
    database: Database, sql: asyncpg.Connection
) -> None:
    await sql.execute("UPDATE alembic_version SET version_num = '0000'")
    await sql.execute("SELECT pg_advisory_lock($1)", MIGRATION_LOCK)
    waiting = asyncio.create_task(migrate(database))
    query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    while not await sql.fetchval(query):  # noqa: ASYNC110 - what PostgreSQL does
        await asyncio.sleep(0.01)
    await sql.execute("UPDATE alembic_version SET version_num = '9999'")
    await sql.execute("SELECT pg_advisory_unlock($1)", MIGRATION_LOCK)
    with pytest.raises(NewerDatabaseError):
        await waiting


def _differences(connection: Connection) -> list[Any]:
    context = MigrationContext.configure(
        connection, opts={"compare_type": True, "compare_server_default": True}
    )
    return list(compare_metadata(context, SQLModel.metadata))


async def test_the_classes_say_what_the_migrations_made(database: Database) -> None:
    assert tables.Coin.metadata is SQLModel.metadata
    async with database.engine.connect() as connection:
        assert await connection.run_sync(_differences) == []
        # it would be noticed
        await connection.execute(text("ALTER TABLE coin ALTER name TYPE varchar(9)"))
        await connection.execute(text("ALTER TABLE coin ALTER symbol DROP NOT NULL"))
        await connection.execute(text("DROP INDEX ix_refresh_run_status"))
        await connection.execute(text("ALTER TABLE series ALTER revision SET DEFAULT 7"))
        assert len(await connection.run_sync(_differences)) == 4


# What alembic does not compare.
_CONSTRAINTS = """
    SELECT conrelid::regclass::text || ' ' || conname || ' ' || pg_get_constraintdef(oid)
    FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace AND conrelid <> 0 AND contype <> 'n'
      AND conrelid::regclass::text <> 'alembic_version'
    ORDER BY 1
"""


async def test_keys_and_their_names_are_those_of_the_classes(
    database: Database, empty: Database
) -> None:
    async with empty.engine.begin() as connection:
        await connection.run_sync(SQLModel.metadata.create_all)
    found = []
    for each in (database, empty):
        async with each.read() as session:
            found.append(list(await session.scalars(text(_CONSTRAINTS))))
    assert found[0] == found[1]
    assert len(found[0]) > 15
