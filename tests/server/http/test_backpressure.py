"""Unread responses hold bounded memory for a bounded time."""

import asyncio
import contextlib
import functools
import tracemalloc
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from server.config.settings import Settings
from server.http import backpressure
from server.streams.execution import LARGEST_PAYLOAD
from simulator import Simulator
from tests.server.slow_readers import OVER, over_post, over_websocket, slow_talk
from tests.server.streams.sse_client import events_of
from tests.server.streams.websocket_client import talking_to
from tests.serving import LiveServer, live_server, make_settings

SEND_BUFFER = 65_536
TIMES = " ".join(f"a{number}: timestamp" for number in range(150))


def long_query(hours: int) -> str:
    """Return a query for about 5 KB an hour, with or without prices."""
    asked = f'coin: "bitcoin", from: "2026-01-01T00:00:00Z", first: {hours}, fill: NULL'
    return f"{{ prices({asked}) {{ points {{ {TIMES} }} }} }}"


def quiet(database_url: str, simulator: Simulator, **more: Any) -> Settings:
    """Settings of a server without upstream, so that no data changes."""
    nobody = "http://127.0.0.1:1"
    return make_settings(
        database_url, simulator, history_days=365, coingecko_base_url=nobody, **more
    )


@pytest.fixture
async def year(database_url: str, shared_simulator: Simulator) -> AsyncIterator[LiveServer]:
    async with live_server(quiet(database_url, shared_simulator), send_buffer=SEND_BUFFER) as live:
        yield live


async def test_a_long_response_is_complete(year: LiveServer) -> None:
    answer = await year.data(long_query(1_000))
    points = answer["prices"]["points"]
    assert len(points) == 1_000
    assert all(len(set(point.values())) == 1 for point in points)
    assert [point["a0"] for point in points] == sorted({point["a149"] for point in points})


def megabytes(number: int) -> str:
    """Return a query for about 2.6 MB; each number gives another one."""
    return long_query(600 + number)


async def eventually(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 - no event signals it
            await asyncio.sleep(0.01)


async def errors_over(server: LiveServer, transport: str, query: str) -> list[Any] | None:
    """Send a query and read the response; return its errors, if any."""
    found: list[Any] | None
    if transport == "websocket":
        async with talking_to(server, max_size=None) as talk:
            await talk.begin(query)
            message = await talk.receive()
        payload = message["payload"]
        found = payload if message["type"] == "error" else payload.get("errors")
    elif transport == "events":
        async with events_of(server, query) as events:
            found = (await events.next())[1].get("errors")
    else:
        answer = await server.post(query)
        found = answer.json().get("errors")
        assert answer.status_code == (503 if found else 200)
        assert ("retry-after" in answer.headers) == bool(found)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("unread", OVER)
async def test_all_transports_share_one_budget(year: LiveServer, unread: str) -> None:
    """Unread bytes on one transport count on all transports."""
    budget = year.application.endpoint.backpressure.budget
    budget.most_each = 7_000_000
    async with contextlib.AsyncExitStack() as deaf:
        for number in range(2):
            await deaf.enter_async_context(OVER[unread](year, megabytes(number)))
        await eventually(lambda: budget.of("127.0.0.1") > 5_000_000)
        for asked in OVER:
            errors = await errors_over(year, asked, megabytes(2))
            assert errors is not None, asked
            assert errors[0]["extensions"]["code"] == "SERVICE_UNAVAILABLE"
            assert await errors_over(year, asked, "{ currencies { code } }") is None
        assert budget.of("127.0.0.1") <= 7_000_000
    await eventually(lambda: not budget.total)  # they have gone, and so has what they left unread
    assert not len(budget)
    for asked in OVER:
        assert await errors_over(year, asked, megabytes(2)) is None


@pytest.mark.slow
async def test_the_total_budget_applies_to_all_callers(year: LiveServer) -> None:
    budget = year.application.endpoint.backpressure.budget
    budget.most = 50_000_000
    with budget.reserve("192.0.2.1", 49_000_000):
        errors = await errors_over(year, "post", megabytes(0))
        assert errors is not None
        assert "unread" in errors[0]["message"]
    assert await errors_over(year, "post", megabytes(0)) is None


@pytest.mark.slow
@pytest.mark.parametrize("transport", OVER)
async def test_a_cached_response_is_in_memory_once(year: LiveServer, transport: str) -> None:
    """Regardless of the number of clients that do not read it."""
    assert await errors_over(year, "post", megabytes(0)) is None
    asking = OVER[transport]
    many = 5
    if transport == "websocket":
        asking, many = functools.partial(over_websocket, operations=10), 50
    async with contextlib.AsyncExitStack() as deaf:
        tracemalloc.start()
        try:
            for _ in range(5):
                reader = await deaf.enter_async_context(asking(year, megabytes(0)))
                if transport != "websocket":
                    await reader.readuntil(b"\r\n\r\n")
            budget = year.application.endpoint.backpressure.budget
            await eventually(lambda: budget.total > many * backpressure.PIECE)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert budget.total < 3_500_000 + many * backpressure.PIECE
        assert peak < 12_000_000
    await eventually(lambda: not budget.total)


@pytest.mark.slow
@pytest.mark.parametrize("coding", ["br", "gzip"])
async def test_a_compressed_response_holds_no_other_coding(
    database_url: str, shared_simulator: Simulator, coding: str
) -> None:
    settings = quiet(database_url, shared_simulator, cache_megabytes=0)
    async with live_server(settings, send_buffer=SEND_BUFFER) as server:
        budget = server.application.endpoint.backpressure.budget
        tracemalloc.start()
        try:
            async with over_post(server, long_query(4_000), coding.encode()) as reader:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.partition(b"content-length: ")[2].split(b"\r\n")[0])
                assert length > backpressure.PIECE + SEND_BUFFER, "it leaves some unread"
                assert budget.total == length + backpressure.PIECE
                await eventually(lambda: tracemalloc.get_traced_memory()[0] < 10_000_000)
                assert budget.total == length + backpressure.PIECE, "20 MB are gone"
        finally:
            tracemalloc.stop()
        await eventually(lambda: not budget.total)


@pytest.mark.slow
async def test_a_slow_client_receives_all_responses(year: LiveServer) -> None:
    """Several operations on one socket, through small buffers, in any pieces."""
    queries = [megabytes(number) for number in (0, 1, 0)]
    async with slow_talk(year) as talk:
        for number, query in enumerate(queries):
            await talk.begin(query, str(number))
        await talk.say("ping", payload={"in": "between"})
        shown: dict[str, list[Any]] = {}
        pongs = 0
        while sum(len(each) for each in shown.values()) < 2 * len(queries):
            message = await talk.receive()
            if message["type"] == "pong":
                pongs += 1
            else:
                shown.setdefault(message["id"], []).append(message)
    assert pongs == 1
    for number, query in enumerate(queries):
        payload, end = shown[str(number)]
        assert payload["payload"] == {"data": await year.data(query)}
        assert end["type"] == "complete"


@pytest.mark.slow
async def test_an_event_of_several_pieces_is_complete(year: LiveServer) -> None:
    async with events_of(year, megabytes(0)) as events:
        assert (await events.next()) == ("next", {"data": await year.data(megabytes(0))})
        assert (await events.next())[0] == "complete"


@pytest.mark.slow
@pytest.mark.parametrize("transport", OVER)
async def test_a_client_that_is_too_slow_is_aborted(
    year: LiveServer, monkeypatch: pytest.MonkeyPatch, transport: str
) -> None:
    """It reads often enough for the limit on reading nothing."""
    monkeypatch.setattr(backpressure, "READ_GRACE_SECONDS", 1.0)
    monkeypatch.setattr(backpressure, "MIN_BYTES_PER_SECOND", 1e9)
    read = 0
    async with OVER[transport](year, megabytes(0)) as slow, asyncio.timeout(60):
        with contextlib.suppress(ConnectionError):
            while part := await slow.read(2_000):
                read += len(part)
                await asyncio.sleep(0.01)
    assert read < 2_500_000


@pytest.mark.slow
async def test_a_stream_rejects_long_payloads(year: LiveServer) -> None:
    async with talking_to(year) as talk, events_of(year, long_query(2_000)) as events:
        await talk.begin(long_query(2_000))
        message = await talk.receive()
        _, payload = await events.next()
    for error in (*message["payload"], *payload["errors"]):
        assert error["extensions"]["code"] == "OPERATION_TOO_COMPLEX"
        assert f"{LARGEST_PAYLOAD:,}" in error["message"]
