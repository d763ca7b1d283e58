"""The caller's name behind a proxy, wherever callers are queued or bounded, over real HTTP."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta

import httpx
import pytest

from server.access.callers import caller_of
from simulator import Simulator
from tests.server.streams.sse_client import EVENTS
from tests.server.streams.websocket_client import FOLLOW, SECONDS
from tests.serving import LiveServer, live_server, make_settings

MODEST = [f"198.51.100.{number}" for number in range(1, 21)]
GREEDY = {  # forty addresses each, of one caller
    "a network of IPv6": [f"2001:db8::{number:x}:1" for number in range(40)],
    "one in several spellings": [
        ("192.0.2.7", "::ffff:192.0.2.7", "::FFFF:C000:207", "192.0.2.7:4711")[number % 4]
        for number in range(40)
    ],
    "made-up names": [f"unknown-{number}" for number in range(40)],
}


@pytest.mark.parametrize(
    ("address", "caller"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::ffff:c000:201", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:ffff:ffff:ffff", "2001:db8::/64"),
        ("2001:DB8:0:1::1", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("unknown", "unknown"),
        ("192.0.2.999", "unknown"),
        ("192.0.2.1/24", "unknown"),
        ("1" * 10_000, "unknown"),
        ("", "unknown"),
        (None, "unknown"),
    ],
)
def test_callers(address: str | None, caller: str) -> None:
    assert caller_of(address) == caller


@pytest.fixture
async def proxied(
    refreshed: object, database_url: str, shared_simulator: Simulator
) -> AsyncIterator[LiveServer]:
    settings = make_settings(
        database_url,
        shared_simulator,
        trusted_proxies="127.0.0.1",
        operation_timeout=timedelta(seconds=SECONDS),  # what waits is not to be stopped meanwhile
    )
    async with live_server(settings) as live:
        yield live


def search(number: int) -> str:
    return f"{{ anomalies(threshold: {number + 4}) {{ timestamp }} }}"


def expensive(number: int) -> str:
    """Send a query that is expensive enough to queue; each number gives another query."""
    asked = f'coin: "bitcoin", from: "2026-01-01T00:00:00Z", first: {7_000 + number}, fill: NULL'
    return f"{{ prices({asked}) {{ points {{ timestamp price volume }} }} }}"


async def ask(server: LiveServer, address: str, query: str) -> int:
    answer = await server.http.post(
        "/graphql", json={"query": query}, headers={"X-Forwarded-For": address}
    )
    assert answer.status_code in {200, 503}, answer.text
    return answer.status_code


async def eventually(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(SECONDS):
        while not holds():  # noqa: ASYNC110 - no event signals it
            await asyncio.sleep(0.005)


@pytest.mark.slow
@pytest.mark.parametrize("greedy", GREEDY)
@pytest.mark.parametrize("query", [search, expensive])
async def test_a_caller_at_its_limit_does_not_block_others(
    proxied: LiveServer,
    query: Callable[[int], str],
    greedy: str,
) -> None:
    """Forty queries of one caller and twenty of others, while slow ones are running."""
    queue = proxied.application.endpoint.streams.operations.schema.work
    async with httpx.AsyncClient(
        base_url=proxied.url, timeout=120, trust_env=False, limits=httpx.Limits()
    ) as http:
        many = LiveServer(proxied.url, http, proxied.application)
        async with asyncio.TaskGroup() as group, queue.place("somebody", 10**9):
            first = [
                group.create_task(ask(many, address, query(number)))
                for number, address in enumerate(GREEDY[greedy])
            ]
            await eventually(lambda: sum(task.done() for task in first) == 40 - 32)
            assert len(queue) == 32
            others = [
                group.create_task(ask(many, address, query(40 + number)))
                for number, address in enumerate(MODEST)
            ]
            await eventually(lambda: len(queue) == 32 + len(MODEST))
    assert [task.result() for task in others] == [200] * len(MODEST)
    assert sorted(task.result() for task in first) == [200] * 32 + [503] * 8


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("2001:db8::3", 503),
        ("2001:db8::ffff", 503),
        ("2001:db8:0:1::1", 200),
        ("192.0.2.1", 200),
    ],
)
async def test_an_ipv6_network_shares_the_budget_of_subscriptions(
    proxied: LiveServer, address: str, status: int
) -> None:
    budget = proxied.application.endpoint.streams.operations.budget

    def following(address: str) -> AbstractAsyncContextManager[httpx.Response]:
        headers = EVENTS | {"X-Forwarded-For": address}
        return proxied.http.stream("POST", "/graphql", json={"query": FOLLOW}, headers=headers)

    async with following("2001:db8::1") as first:
        assert first.status_code == 200
        await eventually(lambda: budget.of("2001:db8::/64") > 10_000)
        one = budget.of("2001:db8::/64")
        budget.most_each = 2 * one + 1_000
        async with following("2001:db8::2") as second:
            assert second.status_code == 200
            await eventually(lambda: budget.of("2001:db8::/64") == 2 * one)
            async with following(address) as answer:
                assert answer.status_code == status


async def test_an_ipv6_network_shares_the_budget_of_unread_responses(proxied: LiveServer) -> None:
    budget = proxied.application.endpoint.backpressure.budget
    budget.most_each = 4_000_000
    with budget.reserve("2001:db8::/64", 3_900_000), budget.reserve("192.0.2.7", 3_900_000):
        for number, (address, status) in enumerate(
            (
                ("2001:db8::1", 503),
                ("2001:db8::abcd:1", 503),
                ("2001:db8:0:1::1", 200),
                ("::ffff:192.0.2.7", 503),
                ("192.0.2.8", 200),
            )
        ):
            assert await ask(proxied, address, expensive(number)) == status, address
