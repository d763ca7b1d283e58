"""How much of the past of refreshes is kept."""

import asyncpg
import pytest

from models.postgres.database import Database
from models.runs import prune_runs


async def age_of(sql: asyncpg.Connection, days: int) -> list[str]:
    """Make runs, one a day, the newest yesterday's; their ids, the newest first."""
    rows = await sql.fetch(
        "INSERT INTO refresh_run (id, status, trigger, started_at)"
        " SELECT format('%s-0000-7000-8000-000000000000', lpad(to_hex(100000 - n), 8, '0'))::uuid,"
        "   'SUCCEEDED', 'COMMAND', now() - make_interval(days => n)"
        " FROM generate_series(1, $1::integer) AS n RETURNING id::text",
        days,
    )
    return [row["id"] for row in rows]


async def kept(sql: asyncpg.Connection) -> list[str]:
    rows = await sql.fetch("SELECT id::text FROM refresh_run ORDER BY id DESC")
    return [row["id"] for row in rows]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("most", "days", "left"), [(5, 400, 5), (100, 8, 7), (3, 5, 3), (20, 400, 20), (21, 400, 20)]
)
async def test_old_runs_go(
    database: Database, sql: asyncpg.Connection, most: int, days: int, left: int
) -> None:
    ids = await age_of(sql, 20)
    async with database.write() as session:
        assert await prune_runs(session, runs=most, days=days) == 20 - left
        assert await prune_runs(session, runs=most, days=days) == 0
    assert await kept(sql) == ids[:left]


async def test_what_hangs_on_a_run_goes_with_it_and_a_running_one_stays(
    database: Database, sql: asyncpg.Connection, series: int
) -> None:
    ids = await age_of(sql, 4)
    for run_id in ids:
        await sql.execute(
            "INSERT INTO refresh_run_item (run_id, series_id, status, reason)"
            " VALUES ($1::text::uuid, $2, 'SUCCEEDED', 'ROUTINE')", run_id, series
        )  # fmt: skip
        await sql.execute("INSERT INTO refresh_run_key VALUES ($1, $1::text::uuid)", run_id)
    await sql.execute("UPDATE refresh_run SET status = 'RUNNING' WHERE id = $1::text::uuid", ids[3])
    async with database.write() as session:
        assert await prune_runs(session, runs=2) == 1
    left = [ids[0], ids[1], ids[3]]
    assert await kept(sql) == left
    for query in (
        "SELECT run_id::text FROM refresh_run_item ORDER BY run_id DESC",
        "SELECT key FROM refresh_run_key ORDER BY key DESC",
    ):
        assert [row[0] for row in await sql.fetch(query)] == left


async def test_a_long_past_goes_bit_by_bit(database: Database, sql: asyncpg.Connection) -> None:
    await age_of(sql, 1200)
    gone = []
    for _ in range(4):
        async with database.write() as session:
            gone.append(await prune_runs(session))
    assert gone == [500, 301, 0, 0]  # of today's hour 400 days ago none is left
    assert len(await kept(sql)) == 399
