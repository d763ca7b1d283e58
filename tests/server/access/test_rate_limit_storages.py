"""The storages of rate limits: bounded memory, Redis, and the fallback without Redis."""

import asyncio
import socket
from functools import partial

from server.access.rate_limit_memory import BoundedMemory
from server.access.rate_limits import RateLimits
from simulator import Simulator
from tests.server.access.limited_server import COST, POINTS, Clock, ask, left
from tests.server.cache_probes import is_true, until, wait_for_listener
from tests.serving import live_server, make_settings

LATEST = "{ latestPrices { price } }"  # 1,260


async def test_the_number_of_windows_is_bounded() -> None:
    clock = Clock()
    memory = BoundedMemory(clock, most=3)
    for name in "abcd":
        clock.now += 1
        await memory.incr(name, 60)
    await memory.incr("b", 60, 5)  # which does not make its window any younger
    assert len(memory) == 3
    assert [await memory.get(name) for name in "abcd"] == [0, 6, 1, 1]
    await memory.incr("e", 60)
    assert [await memory.get(name) for name in "bcde"] == [0, 1, 1, 1]


async def test_ended_windows_are_dropped() -> None:
    clock = Clock()
    memory = BoundedMemory(clock)
    for number in range(1_000):
        await memory.incr(str(number), 60)
    clock.now += 60
    assert await memory.incr("999", 60) == 1
    assert len(memory) == 1


class _Gate(BoundedMemory):
    """A storage that delays expensive operations."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.waiting = 0
        self.open = asyncio.Event()

    async def holds(self, key: str) -> bool:
        return await self.get(key) > 0

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        if amount > 1:
            self.waiting += 1
            await self.open.wait()
        return await super().incr(key, expiry, amount)


async def test_a_rejected_caller_does_not_affect_others(
    database_url: str, shared_simulator: Simulator
) -> None:
    """Other callers wait for the same response, for which the first caller has no points."""
    settings = make_settings(database_url, shared_simulator, trusted_proxies="127.0.0.1")
    async with live_server(settings) as server:
        await wait_for_listener(server)
        gate = _Gate(Clock())
        rates = server.application.admission.rates = RateLimits(POINTS, gate)
        await BoundedMemory.incr(gate, "address:203.0.113.1", 60, POINTS - 10)
        asking = []
        for last in range(1, 5):
            headers = {"X-Forwarded-For": f"203.0.113.{last}"}
            query = server.http.post("/graphql", json={"query": LATEST}, headers=headers)
            asking.append(asyncio.create_task(query))
            if last == 1:
                await until(is_true(lambda: gate.waiting == 1))
        for last in range(2, 5):
            await until(partial(gate.holds, f"address:203.0.113.{last}"))
        gate.open.set()
        answers = await asyncio.gather(*asking)
        assert [each.status_code for each in answers] == [429, 200, 200, 200]
        spent = [(await rates.spend(f"address:203.0.113.{last}", 0))[0] for last in range(2, 5)]
        assert sorted(spent) == [1, 1, 1_260]  # one of them led, in the spender's place


async def test_without_redis_each_process_counts_in_memory(
    database_url: str, shared_simulator: Simulator
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = make_settings(
        database_url,
        shared_simulator,
        max_cost=POINTS,
        rate_limit_points=POINTS,
        rate_limit_storage=f"redis://:hunter2@127.0.0.1:{port}",
    )
    assert "hunter2" in settings.secrets
    async with live_server(settings) as server:
        for number in range(1, 4):
            response = await ask(server)
            assert (response.status_code, left(response)[0]) == (200, POINTS - number * COST)
