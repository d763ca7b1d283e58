"""A deployment of price updates: a hub on a database, and subscribers of the schema."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from models.database import Database
from models.notifications import Listener
from resolvers.updates import PriceUpdates
from schema import build_schema
from schema.context import Access, Caller, Context, Services

SCHEMA = build_schema()
CALLER = Caller("test", Access.GRANTED, Access.MISSING_TOKEN)
FOLLOW = """
    subscription Follow($coins: [ID!], $currencies: [ID!], $since: BigInt) {
      priceUpdates(coins: $coins, currencies: $currencies, since: $since) {
        kind revision prices { coin currency price marketCap volume change24h observedAt revision }
      }
    }
"""
SECONDS = 20  # more than anything takes


@contextlib.asynccontextmanager
async def hub_on(database: Database) -> AsyncIterator[PriceUpdates]:
    """What one process has of price updates; it listens."""
    listener = Listener(database)
    updates = PriceUpdates(database, listener)
    listener.join(updates)
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

    async def next(self) -> dict[str, Any]:
        result = await asyncio.wait_for(anext(self._stream), SECONDS)
        assert not result.errors, result.errors
        update: dict[str, Any] = result.data["priceUpdates"]
        return update

    async def next_of(self, kind: str) -> dict[str, Any]:
        update = await self.next()
        assert update["kind"] == kind, update
        return update

    async def ended(self) -> bool:
        """Wait for the end; whether there was no update before it."""
        return await asyncio.wait_for(anext(self._stream, None), SECONDS) is None

    async def leave(self) -> None:
        await self._stream.aclose()


async def subscribe(
    database: Database,
    updates: PriceUpdates,
    query: str = FOLLOW,
    caller: Caller = CALLER,
    **given: Any,
) -> Any:
    """Subscribe as a transport does: a stream of results, or the result that refuses."""
    services = Services(database, None, None, updates)  # type: ignore[arg-type] # no more is needed
    context = Context(services, caller)
    return await SCHEMA.subscribe(query, variable_values=given, context_value=context)


@contextlib.asynccontextmanager
async def following(
    database: Database, updates: PriceUpdates, **given: Any
) -> AsyncIterator[Subscriber]:
    stream = await subscribe(database, updates, **given)
    assert not hasattr(stream, "errors"), stream.errors
    subscriber = Subscriber(stream)
    try:
        yield subscriber
    finally:
        await subscriber.leave()
