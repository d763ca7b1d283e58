"""The memory of subscriptions is bounded; each event is queued and charged."""

import asyncio
import contextlib
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from models.postgres.database import Database
from server.streams.execution import LARGEST_SUBSCRIPTION
from simulator import Simulator
from tests.server.streams.price_writes import move
from tests.server.streams.sse_client import EVENTS, events_of
from tests.server.streams.websocket_client import FOLLOW, SECONDS, talking_to
from tests.serving import LiveServer, live_server, make_settings

WITH_COINS = "subscription ($coins: [ID!]) { priceUpdates(coins: $coins) { kind } }"
COST = 1_000 + 3 * 100 + 3 * 100  # of FOLLOW: four series, in columns


def padded(size: int, padding: str) -> str:
    """Return a subscription of `size` bytes, most of them a comment."""
    text = f"{FOLLOW} #{padding}"
    return text + "x" * (size - len(text.encode()))


async def first_over(server: LiveServer, transport: str, query: str, **variables: Any) -> Any:
    """Subscribe; return the code of the first error, or the first event."""
    if transport == "websocket":
        async with talking_to(server) as talk:
            await talk.begin(query, variables=variables)
            message = await talk.receive()
        payload = message["payload"]
        errors = payload if message["type"] == "error" else payload.get("errors")
    else:
        async with events_of(server, query, **variables) as events:
            _, payload = await events.next()
        errors = payload.get("errors")
    return errors[0]["extensions"]["code"] if errors else payload["data"]


@pytest.mark.parametrize("transport", ["websocket", "events"])
@pytest.mark.parametrize("padding", ["x", "\N{GRINNING FACE}"])
async def test_the_size_of_a_subscription_is_bounded(
    server: LiveServer, transport: str, padding: str
) -> None:
    most = padded(LARGEST_SUBSCRIPTION, padding)
    assert len(most.encode()) == LARGEST_SUBSCRIPTION
    assert "priceUpdates" in await first_over(server, transport, most)
    assert await first_over(server, transport, most + "x") == "OPERATION_TOO_COMPLEX"
    coins = ["bitcoin"] * 1_000
    assert "priceUpdates" in await first_over(server, transport, WITH_COINS, coins=["bitcoin"])
    more = {"coins": ["bitcoin"], "unused": coins, "unused too": coins}
    assert await first_over(server, transport, WITH_COINS, **more) == "OPERATION_TOO_COMPLEX"
    query = most.replace(FOLLOW, "{ __typename }") + "x" * len(FOLLOW)
    assert await first_over(server, transport, query) == {"__typename": "Query"}


@pytest.mark.slow
async def test_the_memory_of_subscriptions_is_counted(server: LiveServer) -> None:
    """The count is within a factor of two of the real memory, until they end."""
    budget = server.application.endpoint.streams.operations.budget
    fields = " ".join(f"{{0}}{number}: price" for number in range(100))
    async with talking_to(server) as talk:
        await talk.begin(operation_id="warm")
        await talk.receive()
        tracemalloc.start()
        try:
            for number in range(19):
                names = fields.format(f"a{number}_")
                await talk.begin(
                    f"subscription {{ priceUpdates {{ kind prices {{ {names} }} }} }}", f"{number}"
                )
                assert (await talk.receive())["type"] == "next"
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert budget.total > 19 * 180_000
        assert held < 2 * budget.total
    async with asyncio.timeout(SECONDS):
        while budget.total:  # noqa: ASYNC110 - no event signals it
            await asyncio.sleep(0.01)


async def test_the_subscriptions_of_an_address_are_bounded(
    server: LiveServer,
) -> None:
    budget = server.application.endpoint.streams.operations.budget
    async with contextlib.AsyncExitStack() as stack:
        talks = [await stack.enter_async_context(talking_to(server)) for _ in range(2)]
        for number, talk in enumerate(talks):
            await talk.begin(operation_id="kept")
            assert (await talk.receive())["type"] == "next", number
        budget.most_each = budget.of("127.0.0.1") + 1_000
        for talk in talks:
            await talk.begin(operation_id="more")
            message = await talk.receive()
            assert (message["id"], message["type"]) == ("more", "error")
            assert message["payload"][0]["extensions"]["code"] == "SERVICE_UNAVAILABLE"
        refused = await server.http.post("/graphql", json={"query": FOLLOW}, headers=EVENTS)
        assert refused.status_code == 503
        assert "of your address" in refused.json()["errors"][0]["message"]
        assert (await server.post("{ __typename }")).status_code == 200
        await talks[0].say("complete", id="kept")
        async with asyncio.timeout(SECONDS):
            while budget.of("127.0.0.1") > budget.most_each // 2:  # noqa: ASYNC110 - no event signals it
                await asyncio.sleep(0.01)
        await talks[0].begin("{ __typename }", "small")
        assert (await talks[0].receive())["payload"] == {"data": {"__typename": "Query"}}


@pytest.fixture
async def paying(
    refreshed: object, database_url: str, shared_simulator: Simulator
) -> AsyncIterator[LiveServer]:
    """A server with points for four events of FOLLOW, and 99 more."""
    settings = make_settings(
        database_url, shared_simulator, max_cost=COST, rate_limit_points=4 * COST + 99
    )
    async with live_server(settings) as live:
        yield live


@pytest.mark.parametrize("transport", ["websocket", "events"])
async def test_each_event_is_charged(
    paying: LiveServer, database: Database, sql: asyncpg.Connection, transport: str
) -> None:
    async with talking_to(paying) as talk, contextlib.AsyncExitStack() as stack:
        if transport == "websocket":
            await talk.begin()

            async def receive() -> Any:
                message = await talk.receive()
                return message["payload"]
        else:
            events = await stack.enter_async_context(events_of(paying, FOLLOW))

            async def receive() -> Any:
                return (await events.next())[1]

        assert (await receive())["data"]["priceUpdates"]["kind"] == "SNAPSHOT"
        for number in range(1, 4):
            await move(database, sql, coin="bitcoin", currency="usd", price=float(number))
            prices = (await receive())["data"]["priceUpdates"]["prices"]
            assert [price["price"] for price in prices] == [number]
        await move(database, sql, coin="bitcoin", currency="usd", price=9.5)
        shown = await receive()
        [error] = shown if transport == "websocket" else shown["errors"]
        assert error["extensions"]["code"] == "RATE_LIMITED"
        assert error["extensions"]["retryAfterSeconds"] > 0


async def test_an_event_with_a_cached_payload_costs_one_point(
    paying: LiveServer, database: Database, sql: asyncpg.Connection
) -> None:
    async with talking_to(paying) as first, talking_to(paying) as second:
        await first.begin()
        await first.receive()
        await second.begin()
        await second.receive()
        for number in range(1, 3):  # four events are left to pay for, of which two are shared
            await move(database, sql, coin="bitcoin", currency="usd", price=float(number))
            for talk in (first, second):
                assert (await talk.receive())["type"] == "next"


async def test_each_event_waits_in_the_queue(
    server: LiveServer, database: Database, sql: asyncpg.Connection
) -> None:
    """After running ones, while other requests are answered."""
    queue = server.application.endpoint.streams.operations.schema.events
    async with talking_to(server) as talk:
        await talk.begin()
        await talk.receive()
        async with queue.place("another's", 1_000_000):
            await move(database, sql, coin="bitcoin", currency="usd", price=7.5)
            async with asyncio.timeout(SECONDS):
                while not len(queue):  # noqa: ASYNC110 - no event signals it
                    await asyncio.sleep(0.01)
            await talk.begin("{ __typename }", "meanwhile")
            assert (await talk.receive())["id"] == "meanwhile"
            assert (await talk.receive())["type"] == "complete"
        update = await talk.receive()
        assert update["payload"]["data"]["priceUpdates"]["prices"][0]["price"] == 7.5
