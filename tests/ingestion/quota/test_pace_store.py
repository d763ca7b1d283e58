"""One pace for all processes of a database, on a real PostgreSQL."""

import asyncio
import random
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import date
from itertools import pairwise
from pathlib import Path

import asyncpg
import pytest

from ingestion.coingecko.client import CoinGecko
from ingestion.quota.pace import Pace
from ingestion.quota.pace_store import SharedPaceStore
from ingestion.quota.throttle import Throttle
from models.postgres.database import Database, DatabaseUnavailableError
from simulator import Fault, Simulator, SimulatorOptions, run_simulator

_CALLER = """
import asyncio, sys
from ingestion.coingecko.client import CoinGecko
from ingestion.quota.throttle import Throttle
from models.postgres.database import Database

async def main():
    database = Database(sys.argv[1])
    throttle = Throttle(float(sys.argv[3]), database=database)
    async with CoinGecko(throttle=throttle, base_url=sys.argv[2]) as upstream:
        await asyncio.gather(*(upstream.ping() for _ in range(int(sys.argv[4]))))
    await database.close()

asyncio.run(main())
"""


@asynccontextmanager
async def caller(
    database_url: str, simulator: Simulator, per_minute: float, calls: int
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Call upstream from a process of its own, which is gone after the block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _CALLER,
        database_url, simulator.base_url, str(per_minute), str(calls),
        cwd=Path(__file__).parents[3],
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """One that nobody has called."""
    with run_simulator() as running:
        yield running


@pytest.fixture
async def other_database(database_url: str) -> AsyncIterator[Database]:
    """What another process has of the test's database."""
    database = Database(database_url)
    yield database
    await database.close()


@pytest.mark.processes
async def test_two_processes_together_keep_the_rate(database_url: str) -> None:
    # 6 or 7 calls in two seconds, 12 or 13 if each kept the rate for itself; any may come late.
    options = SimulatorOptions(requests_per_minute=11, limit_window=2)
    with run_simulator(options) as limited:
        async with (
            caller(database_url, limited, 190, 8) as one,
            caller(database_url, limited, 190, 8) as other,
        ):
            assert [await one.wait(), await other.wait()] == [0, 0]
        assert [each.status for each in limited.requests] == [200] * 16
        arrivals = sorted(each.at for each in limited.requests)
    assert arrivals[-1] - arrivals[0] > 11 * 60 / 190, "one alone takes 7 intervals"


@pytest.mark.processes
async def test_a_pause_of_one_process_holds_for_another(
    database: Database, database_url: str, simulator: Simulator, sql: asyncpg.Connection
) -> None:
    simulator.add_fault(Fault("rate_limited", times=1, seconds=3))
    throttle = Throttle(6000, database=database)
    async with CoinGecko(throttle=throttle, base_url=simulator.base_url) as upstream:
        pinging = asyncio.create_task(upstream.ping())
        while not throttle.pause_left:  # noqa: ASYNC110 - the throttle has no event
            await asyncio.sleep(0.01)
        paused_until = time.time() + throttle.pause_left
        async with caller(database_url, simulator, 6000, 2) as other:
            assert await other.wait() == 0
        await pinging
    first, *later = simulator.requests
    assert [first.status, *(each.status for each in later)] == [429, 200, 200, 200]
    assert min(each.at for each in later) >= paused_until - 0.01
    # slower afterwards, both of them: half as fast, less what each answer gives back
    assert 1 < await sql.fetchval("SELECT stretch FROM upstream_pace") < 2


@pytest.mark.slow
async def test_a_waiting_call_notices_a_new_pause(
    database: Database, other_database: Database
) -> None:
    waiting, refused = Throttle(40, database=database), Throttle(40, database=other_database)
    async with waiting.slot(), refused.slot():  # the second leaves 1.5 s after the first
        third = asyncio.create_task(_departure(waiting))
        await asyncio.sleep(0)
        assert await refused.rate_limited(4.0) == pytest.approx(4.0)
        paused_until = asyncio.get_running_loop().time() + refused.pause_left
    assert await third >= paused_until - 0.02
    assert waiting.interval == 2 * waiting.base_interval


async def _departure(throttle: Throttle) -> float:
    async with throttle.slot():
        return asyncio.get_running_loop().time()


async def test_reservations_made_at_once_are_an_interval_apart(
    database: Database, other_database: Database, sql: asyncpg.Connection
) -> None:
    clock = asyncio.get_running_loop().time
    slots = [SharedPaceStore(each, Pace(20.0), clock) for each in (database, other_database)]
    await slots[0].reserve()
    first = await sql.fetchval("SELECT last_departure FROM upstream_pace")
    await asyncio.gather(*(slots[number % 2].reserve() for number in range(100)))
    last = await sql.fetchval("SELECT last_departure FROM upstream_pace")
    assert (last - first).total_seconds() == pytest.approx(100 * 20.0, abs=0.001)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
async def test_the_row_goes_as_a_pace_of_one_process(
    database: Database, other_database: Database, sql: asyncpg.Connection, seed: int
) -> None:
    luck = random.Random(seed)  # noqa: S311 - a test
    clock = asyncio.get_running_loop().time
    alone = Pace(5.0)  # reservations run ahead of the clock, whatever happens meanwhile
    shared = [SharedPaceStore(each, Pace(5.0), clock) for each in (database, other_database)]
    departures, moments = [], []
    for _ in range(60):
        slots, age = luck.choice(shared), luck.choice([0, 0, 0, 1])
        await slots.look()
        slowdown = max(0, alone.slowdowns - age)
        match luck.choice(["reserve", "reserve", "refuse", "answer"]):
            case "refuse":
                await slots.rate_limited(0.0, slowdown=slowdown, luck=0.0)
                alone.rate_limited(0.0, 0.0, slowdown=slowdown, luck=0.0)
            case "answer":
                slots.succeeded(slowdown=slowdown)
                alone.succeeded(slowdown=slowdown)
                await slots.report()
            case _:
                await slots.reserve()
                alone.depart(0.0)
                departures.append(alone.last_departure)
                moments.append(await sql.fetchval("SELECT last_departure FROM upstream_pace"))
        row = await sql.fetchrow("SELECT * FROM upstream_pace")
        assert row is not None
        assert row["stretch"] == pytest.approx(alone.stretch, rel=1e-12)
        assert row["slowdowns"] == alone.slowdowns
        assert row["refusals_in_a_row"] == alone.refusals_in_a_row
    expected = [later - earlier for earlier, later in pairwise(departures)]
    seen = [(later - earlier).total_seconds() for earlier, later in pairwise(moments)]
    assert seen == pytest.approx(expected, abs=0.001)


@pytest.mark.processes
async def test_a_killed_process_leaves_no_more_than_its_departure(
    database: Database, database_url: str, simulator: Simulator
) -> None:
    async with caller(database_url, simulator, 30, 50) as killed:
        while len(simulator.requests) < 1:  # noqa: ASYNC110 - the simulator has no event
            await asyncio.sleep(0.01)
        killed.kill()
        await killed.wait()
    # at most one reserved, and then ours: 2 × 2.04 s from now
    assert await SharedPaceStore(database, Pace(2.04), time.monotonic).reserve() <= 2 * 2.04


async def test_a_clock_that_was_set_back_does_not_stop_calls_for_long(
    database: Database, sql: asyncpg.Connection
) -> None:
    await sql.execute(
        "UPDATE upstream_pace SET last_departure = now() + interval '9 days', "
        "paused_until = now() + interval '9 days'"
    )
    assert await SharedPaceStore(database, Pace(2.0), time.monotonic).reserve() <= 3602.0


async def test_without_the_database_no_call_leaves(simulator: Simulator) -> None:
    away = Database("postgresql://nobody@127.0.0.1:1/nothing")
    throttle = Throttle(600, database=away)
    async with CoinGecko(throttle=throttle, base_url=simulator.base_url) as upstream:
        with pytest.raises(DatabaseUnavailableError):
            await upstream.ping()
    assert simulator.requests == []


@pytest.mark.slow
async def test_only_a_200_costs_a_credit(
    database: Database, simulator: Simulator, sql: asyncpg.Connection
) -> None:
    throttle = Throttle(600_000, database=database, first_pause=0.01, max_pause=0.01)
    async with CoinGecko(throttle=throttle, base_url=simulator.base_url, attempts=9) as upstream:
        # six failures in a row would be an outage
        for kinds in (("rate_limited", "error500", "html"), ("forbidden", "reset", "truncated")):
            for kind in kinds:
                simulator.add_fault(Fault(kind, times=1, seconds=0))
            await asyncio.gather(*(upstream.ping() for _ in range(5)))
    answered = [each for each in simulator.requests if each.status == 200]
    assert len(answered) in {10, 11}  # whether what was cut short counts is theirs to say
    assert await sql.fetchval("SELECT sum(spent)::int FROM upstream_credits") == len(answered)


async def test_credits_count_in_the_month_of_the_answer(
    database: Database, sql: asyncpg.Connection
) -> None:
    month = date(2026, 12, 1)
    slots = SharedPaceStore(database, Pace(0.001), time.monotonic, lambda: month)
    slots.charged()
    slots.charged()
    month = date(2027, 1, 1)
    slots.charged()
    await slots.reserve()
    slots.charged()
    await slots.report()
    rows = await sql.fetch("SELECT month, spent FROM upstream_credits ORDER BY month")
    assert [tuple(row) for row in rows] == [(date(2026, 12, 1), 2), (date(2027, 1, 1), 2)]


async def test_credits_that_could_not_be_stored_are_stored_later(
    database: Database, sql: asyncpg.Connection
) -> None:
    slots = SharedPaceStore(database, Pace(0.001), time.monotonic, lambda: date(2026, 12, 1))
    await sql.execute("ALTER TABLE upstream_credits RENAME TO elsewhere")
    slots.charged()
    with pytest.raises(asyncpg.UndefinedTableError):
        await slots.reserve()
    await sql.execute("ALTER TABLE elsewhere RENAME TO upstream_credits")
    slots.charged()
    await slots.reserve()
    await slots.reserve()
    assert await sql.fetchval("SELECT spent FROM upstream_credits") == 2
