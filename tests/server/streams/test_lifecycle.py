"""Subscribers that leave or do not read, and servers that stop."""

import asyncio
import contextlib
import signal
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from models.postgres.database import Database
from schema import build_schema
from server.streams.endpoint import StreamEndpoint, StreamSettings
from simulator import Simulator
from tests.server.server_process import served
from tests.server.slow_readers import deaf
from tests.server.streams.price_writes import move
from tests.server.streams.sse_client import Events, events_of
from tests.server.streams.websocket_client import FOLLOW, SECONDS, Talk, connected_to, talking_to
from tests.serving import PATIENCE, Client, LiveServer

SERIES = '{ prices(coin: "bitcoin") { points { timestamp price marketCap volume observedAt } } }'


async def eventually(holds: Any) -> None:
    """Wait until the condition holds."""
    async with asyncio.timeout(SECONDS):
        while not holds():  # noqa: ASYNC110 - no event signals it
            await asyncio.sleep(0.01)


def tasks() -> int:
    return len(asyncio.all_tasks())


async def test_closed_streams_leave_no_state(
    server: LiveServer, database: Database, sql: asyncpg.Connection
) -> None:
    streams, updates = server.application.endpoint.streams, server.application.updates
    before = tasks()
    async with contextlib.AsyncExitStack() as stack:
        for number in range(20):
            talk = await stack.enter_async_context(talking_to(server))
            await talk.begin(operation_id="a")
            await talk.receive()
            await talk.begin(SERIES, "b")
            if number % 2:
                await talk.say("complete", id="a")
            if number % 3 == 0:
                talk.connection.transport.abort()
        for _ in range(5):
            events = await stack.enter_async_context(events_of(server, FOLLOW))
            await events.next()
        await eventually(lambda: updates.subscribers >= 5)
        await move(database, sql, coin="bitcoin", currency="usd", price=1.5)
    await server.http.aclose()
    await eventually(lambda: len(streams) == 0)
    await eventually(lambda: updates.subscribers == 0)
    await eventually(lambda: tasks() <= before)


@pytest.mark.endurance
async def test_a_client_that_does_not_read_is_aborted_and_delays_no_other(
    server: LiveServer, database: Database, sql: asyncpg.Connection
) -> None:
    admission, endpoint = server.application.admission, server.application.endpoint
    settings = StreamSettings(stalled_seconds=0.2, most_operations=1000)
    streams = endpoint.streams = StreamEndpoint(
        build_schema(), admission, endpoint.handler, settings, endpoint.backpressure
    )
    async with deaf(server) as connection, talking_to(server) as well:
        await well.begin()
        await well.receive()
        async with connected_to(server, sock=connection) as talk:
            await talk.say("connection_init")
            await talk.receive()
            assert len(streams) == 2
            talk.connection.transport.pause_reading()
            with contextlib.suppress(ConnectionClosed):  # where it is dropped during these
                for number in range(900):
                    await talk.begin(SERIES, str(number))
            await eventually(lambda: len(streams) == 1)
        await move(database, sql, coin="bitcoin", currency="usd", price=2.5)
        update = (await well.receive())["payload"]["data"]["priceUpdates"]
        assert update["prices"] == [{"coin": "bitcoin", "currency": "usd", "price": 2.5}]


@pytest.fixture
def settings(database_url: str, shared_simulator: Simulator) -> dict[str, str]:
    return {"DATABASE_URL": database_url, "COINGECKO_BASE_URL": shared_simulator.base_url}


@pytest.mark.endurance
@pytest.mark.processes
@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_stopping_server_closes_its_streams(
    settings: dict[str, str],
    tmp_path: Path,
    database: Database,
    sql: asyncpg.Connection,
    workers: str,
) -> None:
    with served(tmp_path, "--workers", workers, **settings) as process:
        await asyncio.to_thread(process.await_line, "refresh ended")
        if workers != "1":
            await asyncio.to_thread(process.await_workers, int(workers))
        async with httpx.AsyncClient(base_url=process.url, timeout=PATIENCE) as http:
            client = Client(process.url, http)
            async with (
                talking_to(client) as first,
                talking_to(client) as second,
                events_of(client, FOLLOW) as events,
            ):
                for talk in (first, second):
                    await talk.begin()
                    await talk.receive()
                await events.next()
                await move(database, sql, coin="bitcoin", currency="usd", price=4.5)
                await all_receive_change(first, second, events)
                process.process.send_signal(signal.SIGTERM)
                for talk in (first, second):
                    with pytest.raises(ConnectionClosed):  # no `complete`: it is not over
                        await talk.receive()
                    assert await talk.closed() == (1001, "The server is going away.")
                assert await events.next() == ("end", None)
        assert await asyncio.to_thread(process.process.wait, SECONDS) == 0
        assert "Traceback" not in process.log.read_text()


async def all_receive_change(first: Talk, second: Talk, events: Events) -> None:
    """Wait until all subscribers receive the change, on any worker."""
    shown = [(await talk.receive())["payload"] for talk in (first, second)]
    shown.append((await events.next())[1])
    for payload in shown:
        [price] = payload["data"]["priceUpdates"]["prices"]
        assert price["price"] == 4.5
