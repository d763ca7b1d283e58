"""What a role, a database or a URL may set changes no answer."""

import asyncio
import datetime as dt
from collections.abc import Iterator
from urllib.parse import quote

import asyncpg
import pytest

from models.postgres.database import Database
from models.postgres.migrate import migrate
from simulator import Simulator
from tests.conftest import new_database
from tests.serving import TOKEN, connected, live_server, make_settings

# Each of these would break something, or change what is answered, were it in effect.
SETTINGS = {
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "statement_timeout": "300",
    "lock_timeout": "1",
    "idle_in_transaction_session_timeout": "1",
    "idle_session_timeout": "500",
    "search_path": "nowhere",
    "TimeZone": "Asia/Kathmandu",
    "DateStyle": "SQL, DMY",
    "IntervalStyle": "sql_standard",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "client_encoding": "LATIN1",
    "synchronous_commit": "off",
    "jit": "on",
    "jit_above_cost": "0",
    "enable_hashjoin": "off",
    "enable_sort": "off",
    "plan_cache_mode": "force_generic_plan",
    "row_security": "off",
    "lc_messages": "C",
    "array_nulls": "off",
    "transform_null_equals": "on",
    "quote_all_identifiers": "on",
    "constraint_exclusion": "off",
    "escape_string_warning": "off",
    "default_statistics_target": "1",
}
HELD = {
    "transaction_isolation": "read committed",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_session_timeout": "0",
    "idle_in_transaction_session_timeout": "2min",
    "TimeZone": "UTC",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "client_encoding": "UTF8",
}
ASK = """{
    prices(coin: "bitcoin") { points { timestamp price volume partial observedAt } }
    days: prices(coin: "bitcoin", granularity: DAY) {
        points { timestamp open high low close samples }
    }
    coins { nodes { id symbol name metadata { description } } }
    currencies { code name symbol }
    refreshRuns(first: 5) { nodes { id status startedAt finishedAt rowsInserted } }
}"""
REFRESH = "mutation { refreshPrices(input: {wait: true, days: 2}) { run { status error } } }"


async def set_on_database(url: str, settings: dict[str, str]) -> None:
    async with connected(url) as sql:
        name = await sql.fetchval("SELECT current_database()")
        for setting, value in settings.items():
            await sql.execute(f"ALTER DATABASE {name} SET {setting} = '{value}'")


async def shown(database: Database, name: str) -> str:
    async with database.read() as session:
        return str(await (await session.driver()).fetchval(f"SHOW {name}"))


@pytest.fixture(scope="module")
def plain_url(postgres_url: str, template: str) -> Iterator[str]:
    """Address of a migrated database, for all tests that undo what they do."""
    with new_database(postgres_url, template) as url:
        yield url


@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS)
async def test_settings_of_the_database(plain_url: str, setting: str) -> None:
    await set_on_database(plain_url, {setting: SETTINGS[setting]})
    database = Database(plain_url)
    for name, value in HELD.items():
        assert await shown(database, name) == value, name
    async with database.write() as session:
        driver = await session.driver()
        assert await driver.fetchval("SHOW transaction_isolation") == "read committed"
        await asyncio.sleep(0.02)  # idle in a transaction
        await driver.execute("INSERT INTO currency VALUES ('xyz', 'Żółty', 'ż')")
    seconds = 0.4 if setting == "statement_timeout" else 0.02
    [row] = await database.fetch("SELECT name, pg_sleep($1) FROM currency", seconds)
    assert row[0] == "Żółty"
    if setting == "idle_session_timeout":
        await asyncio.sleep(0.6)
    moment = dt.datetime(2026, 3, 29, 1, 30, tzinfo=dt.UTC)
    [row] = await database.fetch(
        "SELECT $1::timestamptz, $1::timestamptz::text, 0.1::float8", moment
    )
    assert tuple(row) == (moment, "2026-03-29 01:30:00+00", 0.1)
    await database.close()
    async with connected(plain_url) as sql:
        await sql.execute("SET statement_timeout = 0")
        await sql.execute(f"ALTER DATABASE {database.url.database} RESET ALL")
        gone = "DELETE FROM public.currency WHERE code = 'xyz' RETURNING name"
        assert await sql.fetchval(gone) == "Żółty"


@pytest.mark.slow
async def test_all_at_once_for_role_and_database_and_url(
    database_url: str, shared_simulator: Simulator
) -> None:
    """A whole refresh, and every kind of answer, before and after."""
    async with live_server(make_settings(database_url, shared_simulator)) as server:
        await server.data(REFRESH, token=TOKEN)
        await server.application.refresher.interrupt()
        before = await server.data(ASK)
    await set_on_database(database_url, SETTINGS)
    options = quote("-c default_transaction_isolation=repeatable\\ read -c timezone=Asia/Tokyo")
    url = f"{database_url}{'&' if '?' in database_url else '?'}options={options}"
    async with live_server(make_settings(url, shared_simulator)) as server:
        assert await server.data(ASK) == before
        answers = await asyncio.gather(
            server.data(REFRESH, token=TOKEN), *(server.data(ASK) for _ in range(5))
        )
        assert answers[0]["refreshPrices"]["run"] == {"status": "SUCCEEDED", "error": None}


async def test_the_schema_that_has_the_tables_is_used(
    database_url: str, sql: asyncpg.Connection
) -> None:
    """Whatever else has a table of the same name."""
    await sql.execute("CREATE SCHEMA other; CREATE TABLE other.currency (code text)")
    await set_on_database(database_url, {"search_path": "other, public"})
    database = Database(database_url)
    assert await database.fetch("SELECT name FROM currency") == []
    await database.close()


async def test_the_url_names_a_schema(empty_url: str, sql: asyncpg.Connection) -> None:
    async with connected(empty_url) as there:
        await there.execute("CREATE SCHEMA prices")
    joint = "&" if "?" in empty_url else "?"
    database = Database(f"{empty_url}{joint}options=-csearch_path%3Dprices")
    await migrate(database)
    [row] = await database.fetch("SELECT 'prices.price_hourly'::regclass::text")
    assert row[0] == "price_hourly"
    await database.close()
