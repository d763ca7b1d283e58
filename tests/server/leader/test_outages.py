"""Leader election between processes whose connections to PostgreSQL are cut and restored."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from models.postgres.database import Database
from server.leader.election import LeaderElection
from simulator import Fault, Simulator
from tests.server.proxy import proxy_to
from tests.serving import LiveServer, connected, live_server, make_settings


class Candidate:
    """A candidate, and the number of current leaders."""

    def __init__(self, url: str) -> None:
        self.database = Database(url)
        self.leading = asyncio.Event()
        self.ended = asyncio.Event()
        self.begun = 0
        self.failing = asyncio.Event()
        self.election = LeaderElection(self.database, self._tasks)

    async def _tasks(self, verify: Callable[[], Awaitable[None]], begun: asyncio.Event) -> None:
        await verify()
        self.begun += 1
        begun.set()
        self.ended.clear()
        self.leading.set()
        try:
            await self.failing.wait()
            raise RuntimeError("a duty fails")
        finally:
            self.leading.clear()
            self.ended.set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Candidate"]:
        task = asyncio.create_task(self.election.run())
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self.database.close()


async def awaited(event: asyncio.Event) -> None:
    async with asyncio.timeout(60):
        await event.wait()


@pytest.mark.slow
async def test_another_process_leads_when_the_leader_stops(database_url: str) -> None:
    async with Candidate(database_url).running() as second:
        async with Candidate(database_url).running() as first:
            await awaited(first.election.decided)
            await awaited(second.election.decided)
            both = (first, second)
            leader = next(each for each in both if each.leading.is_set())
            assert [each.leading.is_set() for each in both].count(True) == 1
            assert leader.begun == 1
        await awaited(second.leading)


@pytest.mark.endurance
async def test_a_leader_that_is_cut_off_stops(database_url: str) -> None:
    async with proxy_to(database_url) as proxy, Candidate(proxy.url).running() as first:
        await awaited(first.leading)
        async with Candidate(database_url).running() as second:
            await awaited(second.election.decided)
            assert not second.leading.is_set()
            await proxy.cut()
            await awaited(second.leading)
            assert first.ended.is_set(), "it stopped before the other one began"
            await proxy.restore()
        await awaited(first.leading)
        assert (first.begun, second.begun) == (2, 1)


@pytest.mark.endurance
async def test_a_leader_without_responses_stops(database_url: str) -> None:
    """The network loses all packets: PostgreSQL keeps the lock for a while."""
    async with proxy_to(database_url) as proxy, Candidate(proxy.url).running() as first:
        await awaited(first.leading)
        async with Candidate(database_url).running() as second:
            await awaited(second.election.decided)
            proxy.freeze()
            await awaited(second.leading)
            assert first.ended.is_set(), "it stopped before the other one began"
            proxy.thaw()
        await awaited(first.leading)


@pytest.mark.slow
async def test_failed_tasks_are_started_again(database_url: str) -> None:
    async with Candidate(database_url).running() as only:
        await awaited(only.leading)
        only.failing.set()
        await awaited(only.ended)
        only.failing.clear()
        await awaited(only.leading)
        assert only.begun == 2


@pytest.mark.slow
async def test_the_database_is_unavailable_at_first(database_url: str) -> None:
    async with proxy_to(database_url) as proxy:
        await proxy.cut()
        async with Candidate(proxy.url).running() as only:
            await awaited(only.election.decided)
            assert not only.leading.is_set()
            await proxy.restore()
            await awaited(only.leading)


@pytest.mark.slow
async def test_a_first_load_that_loses_the_database_is_started_again(
    empty_url: str, simulator: Simulator
) -> None:
    simulator.add_fault(Fault("slow", path="market_chart", times=None, seconds=0.5))
    async with proxy_to(empty_url) as proxy:
        settings = make_settings(proxy.url, simulator)
        async with live_server(settings) as server, connected(empty_url) as sql:

            async def asked() -> bool:
                return any("market_chart" in each.target for each in simulator.requests)

            async def loaded() -> bool:
                query = "SELECT count(*) FROM series WHERE last_success_at IS NULL"
                return not await sql.fetchval(query)

            await until(asked)
            await proxy.cut()
            simulator.clear_faults()
            await proxy.restore()
            await until(loaded)
            await until(lambda: _ready(server))
            runs = await sql.fetch("SELECT trigger, status FROM refresh_run ORDER BY id")
    assert [run["trigger"] for run in runs] == ["STARTUP", "STARTUP"]
    assert runs[0]["status"] in {"FAILED", "INTERRUPTED"}


async def _ready(server: LiveServer) -> bool:
    return (await server.http.get("/health/ready")).status_code == 200


async def until(condition: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(60):
        while not await condition():  # noqa: ASYNC110 - what it awaits is in another process
            await asyncio.sleep(0.02)
