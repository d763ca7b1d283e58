"""A deployment of price updates: a hub on a database, and subscribers of the schema."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest
from strawberry.types.execution import PreExecutionError

from models.postgres.database import Database
from models.postgres.notifications import Listener
from models.series import changed_prices
from resolvers.live.price_updates import PriceUpdates
from schema import build_schema
from schema.context import Access, Caller, Context, Services
from schema.errors import answer_of
from tests.quoting import Pair

SCHEMA = build_schema()
CALLER = Caller("test", Access.GRANTED, Access.MISSING_TOKEN)
FOLLOW = """
    subscription Follow($coins: [ID!], $currencies: [ID!], $since: BigInt) {
      priceUpdates(coins: $coins, currencies: $currencies, since: $since) {
        kind revision prices { coin currency price marketCap volume change24h observedAt revision }
      }
    }
"""
SECONDS = 60  # more than anything takes


@contextlib.asynccontextmanager
async def hub_on(
    database: Database, listener: Listener | None = None
) -> AsyncIterator[PriceUpdates]:
    """What one process has of price updates; it listens."""
    listener = listener or Listener(database)
    updates = PriceUpdates(database, listener)
    listener.subscribe(updates)
    tasks = [asyncio.create_task(work) for work in (listener.run(), updates.run())]
    try:
        yield updates
    finally:
        updates.close()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


class Subscriber:
    """Reads a subscription, one update at a time."""

    def __init__(self, stream: AsyncGenerator[Any, None]) -> None:
        self._stream = stream
        self._coming: asyncio.Task[Any] | None = None

    def begin(self) -> asyncio.Task[Any]:
        """Ask for the next update already."""
        if self._coming is None:
            self._coming = asyncio.create_task(anext(self._stream, None))
        return self._coming

    async def _result(self) -> Any:
        coming, self._coming = self.begin(), None
        return await asyncio.wait_for(coming, SECONDS)

    async def next(self) -> dict[str, Any]:
        result = await self._result()
        assert not result.errors, result.errors
        update: dict[str, Any] = result.data["priceUpdates"]
        return update

    async def next_of(self, kind: str) -> dict[str, Any]:
        update = await self.next()
        assert update["kind"] == kind, update
        return update

    async def ended(self) -> bool:
        """Wait for the end; whether there was no update before it."""
        return await self._result() is None

    async def leave(self) -> None:
        if self._coming is not None:
            self._coming.cancel()
            await asyncio.wait([self._coming])
        await self._stream.aclose()


async def subscribe(
    database: Database,
    updates: PriceUpdates,
    query: str = FOLLOW,
    *,
    caller: Caller = CALLER,
    **given: Any,
) -> Any:
    """Subscribe as a transport does; a stream of results."""
    services = Services(database, None, None, updates, None)  # type: ignore[arg-type] # no more is needed
    context = Context(services, caller)
    return await SCHEMA.subscribe(query, variable_values=given, context_value=context)


async def refused(database: Database, updates: PriceUpdates, **given: Any) -> tuple[str, str]:
    """Subscribe in vain; the code and the message of the one result."""
    stream = await subscribe(database, updates, **given)
    result = await asyncio.wait_for(anext(stream), SECONDS)
    assert isinstance(result, PreExecutionError)
    assert await anext(stream, None) is None
    [error] = answer_of(result, "request").body["errors"]
    return error["extensions"]["code"], error["message"]


@contextlib.asynccontextmanager
async def following(
    database: Database, updates: PriceUpdates, **given: Any
) -> AsyncIterator[Subscriber]:
    """Subscribe; it is done when the block begins."""
    before = updates.subscribers
    subscriber = Subscriber(await subscribe(database, updates, **given))
    subscriber.begin()
    try:
        async with asyncio.timeout(SECONDS):
            while updates.subscribers == before:  # noqa: ASYNC110 - it says nothing yet
                await asyncio.sleep(0)
        yield subscriber
    finally:
        await subscriber.leave()


def prices_of(update: dict[str, Any]) -> dict[Pair, float]:
    """Coin and currency: price."""
    return {(each["coin"], each["currency"]): each["price"] for each in update["prices"]}


class HeldBack:
    """Reads of a hub, which have what was committed when they began and end when they may."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = 0
        self.reading = asyncio.Event()
        self.may_end = asyncio.Event()
        monkeypatch.setattr("resolvers.live.price_updates.changed_prices", self._read)

    async def _read(self, *arguments: Any) -> Any:
        self.begun += 1
        answer = await changed_prices(*arguments)
        self.reading.set()
        await self.may_end.wait()
        return answer
