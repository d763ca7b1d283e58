"""Rate limits in a real Redis: two servers share counts and continue when it fails."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest
import structlog
from limits.aio.storage import MemoryStorage
from limits.errors import StorageError

from resolvers.errors import RateLimitedError
from server.access import rate_limits
from server.access.rate_limits import RateLimits, redis_storage
from simulator import Simulator
from tests.server.access.limited_server import COST, POINTS, Clock, ask, left
from tests.server.access.redis import Redis, running_redis
from tests.server.cache_probes import until
from tests.serving import LiveServer, live_server, make_settings

pytestmark = pytest.mark.processes


@pytest.fixture
async def redis() -> AsyncIterator[Redis]:
    async with running_redis() as running:
        yield running


@pytest.fixture
async def servers(
    redis: Redis, database_url: str, shared_simulator: Simulator
) -> AsyncIterator[tuple[LiveServer, LiveServer]]:
    settings = make_settings(
        database_url,
        shared_simulator,
        max_cost=POINTS,
        rate_limit_points=POINTS,
        rate_limit_storage=redis.url,
    )
    async with live_server(settings) as one, live_server(settings) as other:
        yield one, other


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry a failed Redis at once."""
    monkeypatch.setattr(rate_limits, "_AWAY_SECONDS", 0.0)


async def test_two_servers_count_together(servers: tuple[LiveServer, LiveServer]) -> None:
    turns = itertools.cycle(servers)
    for number in range(1, POINTS // COST + 1):
        response = await ask(next(turns))
        assert response.status_code == 200
        points, seconds = left(response)
        assert points == POINTS - number * COST
        assert 0 < seconds <= 60
    for server in servers:
        refused = await ask(server)
        assert (refused.status_code, left(refused)[0]) == (429, 0)
        assert 0 < int(refused.headers["retry-after"]) <= 60


async def test_a_redis_that_is_killed_and_comes_back(
    redis: Redis, servers: tuple[LiveServer, LiveServer], hasty: None
) -> None:
    await ask(servers[0])
    await redis.kill()
    for number in (1, 2, 3):
        for server in servers:  # each has an account of its own now, which begins again
            response = await ask(server)
            assert (response.status_code, left(response)[0]) == (200, POINTS - number * COST)
    await redis.start()  # with nothing that it knew, scripts included

    async def together() -> bool:
        return len({left(await ask(server))[0] for server in (*servers, servers[0])}) == 3

    await until(together)
    points, _ = left(await ask(servers[1]))
    assert await redis.spent() == [POINTS - points]


async def test_an_unresponsive_redis_delays_no_request(
    redis: Redis, servers: tuple[LiveServer, LiveServer]
) -> None:
    """Without a timeout requests would wait for ever. The failure is logged once."""
    await asyncio.gather(*(ask(servers[0]) for _ in range(10)))
    with redis.stopped(), structlog.testing.capture_logs() as logs:
        answers = await asyncio.gather(*(ask(servers[0]) for _ in range(20)))
        assert {answer.status_code for answer in answers} == {200}
        assert min(left(answer)[0] for answer in answers) == POINTS - 20 * COST
        answer = await ask(servers[0])  # it is not even asked
        assert left(answer)[0] == POINTS - 21 * COST
    assert len([line for line in logs if "counted in this process alone" in line["event"]]) == 1


async def test_a_redis_that_is_full_or_lost_its_data(
    redis: Redis, servers: tuple[LiveServer, LiveServer], hasty: None
) -> None:
    await redis.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
    await redis.command("CONFIG", "SET", "maxmemory", "1")
    for number in (1, 2):  # it refuses to write: each counts for itself
        for server in servers:
            assert left(await ask(server))[0] == POINTS - number * COST
    await redis.command("CONFIG", "SET", "maxmemory", "0")
    await until(lambda: counted(redis, servers))
    await redis.command("FLUSHALL")  # as evicting does: an account begins again
    assert left(await ask(servers[0]))[0] == POINTS - COST
    assert left(await ask(servers[1]))[0] == POINTS - 2 * COST


async def counted(redis: Redis, servers: tuple[LiveServer, LiveServer]) -> bool:
    for server in servers:
        await ask(server)
    return bool(await redis.spent())


async def test_refunds_add_no_points(redis: Redis) -> None:
    """The window ends between the charge and the refund."""

    class Forgetful(RateLimits):
        async def spend(self, key: str, points: int) -> tuple[int, float]:
            if points == -10 * COST:
                await redis.command("FLUSHALL")
            return await super().spend(key, points)

    limits = Forgetful(POINTS, redis_storage(redis.url))
    account = limits.account(None, "203.0.113.1")
    await account.charge(POINTS - COST)
    with pytest.raises(RateLimitedError):
        await account.charge(10 * COST)
    assert (await limits.spend("address:203.0.113.1", 0))[0] == 0
    await limits.close()


class Frozen(MemoryStorage):
    """An unresponsive storage that counts attempts."""

    tried = 0

    async def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        self.tried += 1
        await asyncio.sleep(0)
        raise StorageError(TimeoutError())


async def test_one_request_at_a_time_tries_a_failed_storage(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    storage = Frozen()
    limits = RateLimits(POINTS, storage, clock=Clock())
    now = 1000.0
    monkeypatch.setattr("server.access.rate_limits.time", SimpleNamespace(monotonic=lambda: now))
    await limits.spend("a", 1)
    assert storage.tried == 1
    for expected in (2, 3):
        now += 4.9
        await asyncio.gather(*(limits.spend("a", 1) for _ in range(10)))
        assert storage.tried == expected - 1
        now += 0.2
        await asyncio.gather(*(limits.spend("a", 1) for _ in range(10)))
        assert storage.tried == expected
