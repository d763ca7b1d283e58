"""Answers that are not read hold neither the memory nor the server for long."""

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest

from ingestion.simulator import Simulator
from server import outgoing
from server.streams.operations import LARGEST_PAYLOAD
from tests.server.raw import HEAD, Raw, raw
from tests.server.streams.listening import events_of
from tests.server.streams.talking import talking_to
from tests.serving import LiveServer, live_server, make_settings

TIMES = " ".join(f"a{number}: timestamp" for number in range(150))


def long_query(hours: int) -> str:
    """Ask for some 5 KB for each hour, whether there is a price or not."""
    asked = f'coin: "bitcoin", from: "2026-01-01T00:00:00Z", first: {hours}, fill: NULL'
    return f"{{ prices({asked}) {{ points {{ {TIMES} }} }} }}"


@pytest.fixture
async def year(database_url: str, shared_simulator: Simulator) -> AsyncIterator[LiveServer]:
    async with live_server(make_settings(database_url, shared_simulator, history_days=365)) as live:
        yield live


async def ask_and_stop_reading(client: Raw, hours: int) -> int:
    """Ask, and read no more than the head of the answer; how long the rest of it is."""
    body = json.dumps({"query": long_query(hours)}).encode()
    client.send(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    head = await client.reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    return int(head.partition(b"content-length: ")[2].split(b"\r\n")[0])


async def test_a_long_answer_comes_whole(year: LiveServer) -> None:
    answer = await year.data(long_query(1_000))
    points = answer["prices"]["points"]
    assert len(points) == 1_000
    assert all(len(set(point.values())) == 1 for point in points)
    assert [point["a0"] for point in points] == sorted({point["a149"] for point in points})


async def test_so_much_may_be_unread_and_no_more(
    year: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outgoing, "_MOST_EACH", 12_000_000)
    plain = {"Accept-Encoding": "identity"}
    async with httpx.AsyncClient(base_url=year.url, timeout=60, headers=plain) as http:
        async with raw(year.url) as deaf:
            await ask_and_stop_reading(deaf, 2_000)
            refused = await http.post("/graphql", json={"query": long_query(1_000)})
            assert refused.status_code == 503
            assert refused.json()["errors"][0]["extensions"]["code"] == "SERVICE_UNAVAILABLE"
            assert refused.headers["retry-after"]
            small = await http.post("/graphql", json={"query": "{ currencies { code } }"})
            assert small.status_code == 200
        async with asyncio.timeout(60):  # it has gone, and so has what it left unread
            status = 503
            while status != 200:
                answer = await http.post("/graphql", json={"query": long_query(1_000)})
                status = answer.status_code


@pytest.mark.slow
async def test_who_reads_too_slowly_is_cut(
    year: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each sign of life is in time for the limit on reading nothing at all."""
    monkeypatch.setattr(outgoing, "_PATIENCE_SECONDS", 1.0)
    monkeypatch.setattr(outgoing, "_SLOWEST", 1e9)
    async with raw(year.url) as slow:
        length = await ask_and_stop_reading(slow, 2_000)
        read = 0
        async with asyncio.timeout(60):
            while True:
                try:
                    part = await slow.reader.read(20_000)
                except ConnectionError:
                    break
                if not part:
                    break
                read += len(part)
                await asyncio.sleep(0.01)
    assert read < length


async def test_a_stream_takes_no_long_answers(year: LiveServer) -> None:
    async with talking_to(year) as talk, events_of(year, long_query(2_000)) as events:
        await talk.begin(long_query(2_000))
        message = await talk.hear()
        _, payload = await events.next()
    for error in (*message["payload"], *payload["errors"]):
        assert error["extensions"]["code"] == "OPERATION_TOO_COMPLEX"
        assert f"{LARGEST_PAYLOAD:,}" in error["message"]
