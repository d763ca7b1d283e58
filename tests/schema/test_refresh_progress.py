"""refreshProgress follows a run of any process to its end."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from uuid import UUID

import asyncpg
import pytest

from models import runs
from models.postgres.database import Database, ReadSession
from models.postgres.notifications import APPLICATION_NAME, CHANNEL
from models.runs import lock_of, new_run_id
from models.tables import RefreshRun
from resolvers.live import run_watcher
from schema.subscription import _progress_event
from simulator import Fault, Simulator
from tests.schema.run_subscription import WITH_ITEMS, Event, Watching, all_events, watching
from tests.schema.test_mutation import refresh
from tests.serving import PATIENCE, LiveServer, live_server, make_settings


@pytest.fixture
async def two(
    database_url: str, simulator: Simulator
) -> AsyncIterator[tuple[LiveServer, LiveServer]]:
    """Two processes of one deployment, whose first refresh is done."""
    async with contextlib.AsyncExitStack() as stack:
        settings = make_settings(database_url, simulator)
        here = await stack.enter_async_context(live_server(settings))
        await refresh(here, wait=True)
        there = await stack.enter_async_context(live_server(settings))
        for server in (here, there):
            while not server.application.listener.listening:  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0.01)
        yield here, there


async def begin_held(simulator: Simulator, server: LiveServer) -> str:
    """Start a run that is blocked before its first step. Return its id."""
    simulator.add_fault(Fault("slow", path="/simple/price", times=None, seconds=60))
    run_id: str = (await refresh(server))["run"]["id"]
    return run_id


def let_half_pass(simulator: Simulator) -> None:
    """Block the run in one currency only; clearing the faults ends that, too."""
    simulator.clear_faults()
    simulator.add_fault(Fault("slow", path="/market_chart", currency="eur", times=None, seconds=60))


async def followed_to_half(watch: Watching) -> list[Event]:
    """Read events until the newest prices and two of four series are done."""
    events = [await watch.next()]
    while events[-1]["completedCalls"] < 3:
        events.append(await watch.next())
    return events


async def assert_nothing_is_left(server: LiveServer) -> None:
    assert server.application.runs.watched == 0
    async with asyncio.timeout(PATIENCE):
        while any("RunWatcher" in repr(task) for task in asyncio.all_tasks()):  # noqa: ASYNC110 - tasks that end
            await asyncio.sleep(0.01)


@pytest.mark.slow
async def test_a_run_is_followed_from_two_processes(
    two: tuple[LiveServer, LiveServer], simulator: Simulator
) -> None:
    here, there = two
    run_id = await begin_held(simulator, here)
    async with watching(here, run_id) as one, watching(there, run_id) as other:
        firsts = [await each.next() for each in (one, other)]
        let_half_pass(simulator)
        halves = await asyncio.gather(followed_to_half(one), followed_to_half(other))
        simulator.clear_faults()
        rests = await asyncio.gather(one.events(), other.events())
    for first, half, rest in zip(firsts, halves, rests, strict=True):
        events = [first, *half, *rest]
        assert {event["id"] for event in events} == {run_id}
        assert [event["status"] for event in events] == ["RUNNING"] * (len(events) - 1) + [
            "SUCCEEDED"
        ]
        done = [event["completedCalls"] for event in events]
        assert done == sorted(done)
        assert len(set(done)) > 2, "it is seen to go on"
        assert done[-1] == events[-1]["plannedCalls"] == 5
        assert (events[-1]["estimatedSecondsLeft"], events[-1]["failedCalls"]) == (None, 0)
        assert events[-1]["finishedAt"] is not None
    await assert_nothing_is_left(here)
    await assert_nothing_is_left(there)


@pytest.mark.slow
async def test_items_are_those_of_the_event(
    two: tuple[LiveServer, LiveServer], simulator: Simulator
) -> None:
    run_id = await begin_held(simulator, two[0])
    async with watching(two[1], run_id, WITH_ITEMS) as watch:
        first = await watch.next()
        simulator.clear_faults()
        events = [first, *await watch.events()]
    pending = [[item["status"] for item in event["items"]].count("PENDING") for event in events]
    assert (pending[0], pending[-1]) == (4, 0)
    assert pending == sorted(pending, reverse=True)


@pytest.mark.slow
async def test_an_ended_run_gives_one_event(two: tuple[LiveServer, LiveServer]) -> None:
    run_id = (await refresh(two[0], wait=True))["run"]["id"]
    (event,) = await all_events(two[1], run_id)
    assert (event["id"], event["status"]) == (run_id, "SUCCEEDED")


@pytest.mark.parametrize(
    ("run_id", "code", "words"),
    [
        (str(UUID(int=1)), "NOT_FOUND", "There is no run"),
        ("what", "BAD_USER_INPUT", "'what' is not the id of a run"),
        ("", "BAD_USER_INPUT", "is not the id of a run"),
    ],
)
async def test_invalid_and_unknown_runs(
    server: LiveServer, run_id: str, code: str, words: str
) -> None:
    async with watching(server, run_id) as watch:
        (body,) = await watch.rest()
    (error,) = body["errors"]
    assert error["extensions"]["code"] == code
    assert words in error["message"]
    await assert_nothing_is_left(server)


@pytest.mark.slow
async def test_a_slow_subscriber_gets_the_newest_state(
    two: tuple[LiveServer, LiveServer], sql: asyncpg.Connection
) -> None:
    run_id = await _run_without_process(sql)
    async with _alive(two[0].application.database, run_id), watching(two[1], run_id) as slow:
        assert (await slow.next())["completedCalls"] == 0
        async with watching(two[1], run_id) as quick:
            for number in range(5):
                assert (await quick.next())["completedCalls"] == number
                await sql.execute("UPDATE refresh_run SET completed_calls = completed_calls + 1")
                await _notify(sql, run_id)
            assert (await quick.next())["completedCalls"] == 5
        assert (await slow.next())["completedCalls"] == 5, "not one after the other"
        await sql.execute("UPDATE refresh_run SET status = 'FAILED', error = 'why'")
        await _notify(sql, run_id)
        ((last,),) = [[body["data"]["refreshProgress"] for body in await slow.rest()]]
        assert (last["status"], last["error"]) == ("FAILED", "why")


@pytest.mark.slow
async def test_a_thousand_subscribers_share_each_read(
    two: tuple[LiveServer, LiveServer], sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = 0
    read = runs.runs_by_id

    async def counted(session: ReadSession, ids: Sequence[UUID]) -> dict[UUID, RefreshRun]:
        nonlocal reads
        reads += 1
        return await read(session, ids)

    monkeypatch.setattr(runs, "runs_by_id", counted)
    monkeypatch.setattr(run_watcher, "LOOK_SECONDS", 3600)
    run_id = await _run_without_process(sql)
    here = two[0]
    async with (
        _alive(here.application.database, run_id),
        contextlib.AsyncExitStack() as stack,
    ):
        watchers = [await stack.enter_async_context(watching(here, run_id)) for _ in range(1000)]
        for number in range(3):
            events = await asyncio.gather(*(each.next() for each in watchers))
            assert {event["completedCalls"] for event in events} == {number}
            assert reads == number + 1
            await sql.execute("UPDATE refresh_run SET completed_calls = completed_calls + 1")
            await _notify(sql, run_id)
    await assert_nothing_is_left(here)


async def test_subscribers_share_the_event_itself(server: LiveServer) -> None:
    """What a transport has encoded of it is available to the next subscriber."""
    run_id = (await refresh(server, wait=True))["run"]["id"]
    watcher = server.application.runs
    one, other = watcher.follow(UUID(run_id)), watcher.follow(UUID(run_id))
    async with contextlib.aclosing(one), contextlib.aclosing(other):
        first, second = _progress_event(await anext(one)), _progress_event(await anext(other))
    assert first is second
    first.rendered["a query"] = b"{}"
    assert second.rendered == {"a query": b"{}"}


@pytest.mark.slow
async def test_a_run_whose_process_was_killed_ends(
    two: tuple[LiveServer, LiveServer], sql: asyncpg.Connection
) -> None:
    """No notification comes: watchers find it dead within seconds."""
    run_id = await _run_without_process(sql)
    async with contextlib.AsyncExitStack() as stack:
        watch = await stack.enter_async_context(watching(two[1], run_id))
        async with _alive(two[0].application.database, run_id):
            assert (await watch.next())["status"] == "RUNNING"
        last = (await watch.rest())[-1]["data"]["refreshProgress"]
    assert last["status"] == "INTERRUPTED"
    assert "killed" in last["error"]
    row = await sql.fetchrow("SELECT status FROM refresh_run WHERE id = $1", UUID(run_id))
    assert row is not None
    assert row["status"] == "INTERRUPTED"


@pytest.mark.slow
async def test_after_the_listening_connection_was_lost_it_goes_on(
    two: tuple[LiveServer, LiveServer], sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_watcher, "LOOK_SECONDS", 3600)  # only a notification helps
    run_id = await _run_without_process(sql)
    async with _alive(two[0].application.database, run_id), watching(two[1], run_id) as watch:
        assert (await watch.next())["completedCalls"] == 0
        for number in (1, 2):
            # without a notification
            await sql.execute("UPDATE refresh_run SET completed_calls = completed_calls + 1")
            await sql.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = $1",
                APPLICATION_NAME,
            )
            assert (await watch.next())["completedCalls"] == number


@pytest.mark.slow
async def test_nothing_remains_of_a_subscriber_that_leaves(
    two: tuple[LiveServer, LiveServer], sql: asyncpg.Connection
) -> None:
    run_id = await _run_without_process(sql)
    async with _alive(two[0].application.database, run_id):
        async with watching(two[0], run_id):
            pass  # before the first event
        async with watching(two[0], run_id) as one, watching(two[0], run_id) as other:
            await one.next()
            waiting = asyncio.create_task(other.next())
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
        await assert_nothing_is_left(two[0])


async def _run_without_process(sql: asyncpg.Connection) -> str:
    run_id = new_run_id()
    await sql.execute(
        "INSERT INTO refresh_run (id, status, trigger, planned_calls)"
        " VALUES ($1, 'RUNNING', 'MUTATION', 9)",
        run_id,
    )
    return str(run_id)


@contextlib.asynccontextmanager
async def _alive(database: Database, run_id: str) -> AsyncIterator[None]:
    """Hold the lock of a run, as its process does."""
    connection = await database.connect("test")
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", lock_of(UUID(run_id)))
        yield
    finally:
        await connection.close()


async def _notify(sql: asyncpg.Connection, run_id: str) -> None:
    await sql.execute("SELECT pg_notify($1, $2)", CHANNEL, f'{{"run": "{run_id}"}}')
