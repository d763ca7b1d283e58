"""Subscriptions to a run's progress without a transport."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from resolvers.errors import RequestError
from schema import build_schema
from schema.context import Access, Caller, Context
from schema.errors import answer_of, refused
from schema.execution.subscription import open_subscription
from tests.serving import PATIENCE, LiveServer

PROGRESS = """subscription ($id: ID!) { refreshProgress(runId: $id) {
  id status finishedAt plannedCalls completedCalls failedCalls retries rowsInserted
  estimatedSecondsLeft error
} }"""
WITH_ITEMS = """subscription ($id: ID!) { refreshProgress(runId: $id) {
  id status items { coin currency status }
} }"""
SCHEMA = build_schema()
CALLER = Caller("test", Access.GRANTED, Access.GRANTED)
Event = dict[str, Any]


async def _events(
    server: LiveServer, run_id: str, query: str = PROGRESS
) -> AsyncGenerator[Event, None]:
    services = server.application.admission.services
    assert services is not None
    operation = await SCHEMA.prepare(query)
    subscription = await open_subscription(
        SCHEMA, operation, {"id": run_id}, Context(services, CALLER)
    )
    try:
        async for event in subscription.events:
            result = await subscription.execute(event, Context(services, CALLER))
            yield answer_of(result, "id").body
    except RequestError as error:
        yield refused(error).body
    finally:
        await subscription.close()


@contextlib.asynccontextmanager
async def watching(
    server: LiveServer, run_id: str, query: str = PROGRESS
) -> AsyncIterator["Watching"]:
    events = _events(server, run_id, query)
    try:
        yield Watching(events)
    finally:
        await events.aclose()


class Watching:
    """A subscriber that takes an event when the test calls for it."""

    def __init__(self, events: AsyncGenerator[Event, None]) -> None:
        self._events = events

    async def next(self) -> Event:
        """Return the next event, which must not be an error."""
        body = await asyncio.wait_for(anext(self._events), PATIENCE)
        assert "errors" not in body, body
        run: Event = body["data"]["refreshProgress"]
        return run

    async def rest(self) -> list[Event]:
        """Return all events up to the end of the stream."""
        async with asyncio.timeout(PATIENCE):
            return [body async for body in self._events]

    async def events(self) -> list[Event]:
        """Return all events, none of which may be an error."""
        bodies = await self.rest()
        assert not any("errors" in body for body in bodies), bodies
        return [body["data"]["refreshProgress"] for body in bodies]


async def all_events(server: LiveServer, run_id: str, query: str = PROGRESS) -> list[Event]:
    """Return all events of a run, none of which may be an error."""
    async with watching(server, run_id, query) as watch:
        return await watch.events()
