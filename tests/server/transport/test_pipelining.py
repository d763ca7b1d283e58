"""Pipelined requests, over real sockets."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Iterable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from server.transport import backlog
from server.transport.http_bounds import BoundedHttpProtocol
from tests.server.raw_client import HEAD, QUERY, WHOLE, Answer, Raw, raw
from tests.serving import LiveServer, Reader

LIVE = b"GET /health/live HTTP/1.1\r\n\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
STREAM = HEAD.replace(b"Host", b"Accept: text/event-stream\r\nHost")
UPDATES = b'{"query": "subscription { priceUpdates { kind } }"}'
PATH = b"/graphql?query=subscription%20%7B%20priceUpdates%20%7B%20kind%20%7D%20%7D"
HANDSHAKE = (
    b"GET /graphql HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n"
)


def chunked(body: bytes, size: int, trailers: bytes = b"") -> bytes:
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return CHUNKED + chunks + b"0\r\n" + trailers + b"\r\n"


def posted(body: bytes, head: bytes = HEAD) -> bytes:
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


# each with the status of its answer, and a word of it
KINDS = [
    (LIVE, 200, b"live"),
    (WHOLE, 200, b"currencies"),
    (chunked(QUERY, 7), 200, b"currencies"),
    (chunked(QUERY, 100, b"X-Trailer: a\r\nX-Other: b\r\n"), 200, b"currencies"),
    (posted(b'{"query":\r\n\r\n"{ currencies\\n{ code } }"\r\n\r\n}'), 200, b"currencies"),
    (chunked(b"\r\n\r\n" * 20 + QUERY, 33), 200, b"currencies"),
    (b"\r\n\r\n" + LIVE, 200, b"live"),
    (posted(LIVE, LIVE[:-2]), 200, b"live"),
    (b"POST /health/live HTTP/1.1\r\nContent-Length: 5\r\n\r\n12345", 405, b"Not Allowed"),
    (b"GET /nothing HTTP/1.1\r\n\r\n", 404, b"NOT_FOUND"),
    (posted(b"{}"), 400, b"missing"),
    (posted(b"#" * 100_001), 413, b"100,000 bytes"),
    (b"OPTIONS /graphql HTTP/1.1\r\nOrigin: http://x\r\n\r\n", 405, b"Use GET or POST"),
]


def check(answer: Answer, status: int, word: bytes) -> None:
    assert answer.status == status, answer
    assert word in answer.body


def split_into_pieces(sent: bytes, cuts: Iterable[int]) -> list[bytes]:
    ends = sorted({cut % len(sent) for cut in cuts} - {0})
    return [sent[a:b] for a, b in zip([0, *ends], [*ends, len(sent)], strict=True)]


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    order=st.lists(st.sampled_from(range(len(KINDS))), min_size=1, max_size=12),
    cuts=st.lists(st.integers(min_value=1, max_value=10_000), max_size=12),
)
async def test_pipelined_requests_are_answered_in_order(
    reader: Reader, order: list[int], cuts: list[int]
) -> None:
    """Any requests, arriving in any pieces."""
    async with raw(reader.url) as client:
        for piece in split_into_pieces(b"".join(KINDS[kind][0] for kind in order), cuts):
            client.send(piece)
            await asyncio.sleep(0)
        for kind in order:
            check(await client.answer(), *KINDS[kind][1:])


async def test_byte_by_byte(reader: Reader) -> None:
    async with raw(reader.url) as client:
        small = [kind for kind in KINDS if len(kind[0]) < 1000]
        for byte in b"".join(sent for sent, *_ in small):
            client.send(bytes([byte]))
            await asyncio.sleep(0)
        for _, status, word in small:
            check(await client.answer(), status, word)


def under_way() -> int:
    """Return the number of parsed, unanswered requests in this process."""
    found = [each for each in gc.get_objects() if isinstance(each, RequestResponseCycle)]
    return sum(not each.response_complete for each in found)


@pytest.mark.slow
@pytest.mark.parametrize(
    "sent", [LIVE, WHOLE, chunked(QUERY, 9), b"GET / HTTP/1.1\r\n\r\n"],
    ids=["get", "post", "chunked", "shortest"],
)  # fmt: skip
async def test_pipelined_requests_are_parsed_one_at_a_time(server: LiveServer, sent: bytes) -> None:
    async with raw(server.url) as client:
        client.send(sent * 2000)
        for _ in range(10):
            for _ in range(10):
                await client.answer()
            assert under_way() <= 3  # one is answered, one may wait, one may be another test's


async def fill(client: Raw, sent: bytes) -> None:
    """Send until the server reads no more."""
    client.writer.transport.set_write_buffer_limits(high=0)
    with contextlib.suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(20):
            while not client.writer.is_closing():
                client.send(sent * (500_000 // len(sent)))
                async with asyncio.timeout(1):
                    await client.writer.drain()


@contextlib.asynccontextmanager
async def streaming(server: LiveServer) -> AsyncIterator[Raw]:
    """A client with an open event stream."""
    async with raw(server.url) as client:
        client.send(posted(UPDATES, STREAM))
        await client.reader.readuntil(b"SNAPSHOT")
        yield client


async def none_held(server: LiveServer) -> None:
    async with asyncio.timeout(60):
        while server.application.backlog_budget.total:  # noqa: ASYNC110 - no event signals its end
            await asyncio.sleep(0.01)
    assert len(server.application.backlog_budget) == 0


@pytest.mark.slow
@pytest.mark.parametrize("sent", [LIVE, WHOLE, HANDSHAKE], ids=["get", "post", "websocket"])
async def test_bytes_after_a_stream_are_bounded(server: LiveServer, sent: bytes) -> None:
    before = under_way()
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(streaming(server)) for _ in range(5)]
        await asyncio.gather(*(fill(client, sent) for client in clients))
        assert 0 < server.application.backlog_budget.total <= 5 * 300_000
        assert under_way() - before <= 5 * 2
        assert (await server.http.get("/health/live")).status_code == 200
        for client in clients:
            client.writer.transport.abort()
    # a stream whose connection is gone is noticed when something is written to it
    await server.application.endpoint.streams.close(1)
    await none_held(server)


async def test_past_the_bound_of_an_address_the_response_is_the_last(
    server: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is complete, and the client can send the later requests again."""
    monkeypatch.setattr(backlog, "MOST_EACH", 100_000)
    async with streaming(server) as first, raw(server.url) as second:
        first.send(LIVE * 3000)
        second.send(WHOLE + LIVE * 3000)
        check(await second.answer(), 200, b"currencies")
        while not second.reader.at_eof():  # some may have been answered before the bound was met
            await second.reader.read(65_536)
        assert server.application.backlog_budget.total <= 100_000
        async with raw(server.url) as third:
            third.send(WHOLE + LIVE)
            check(await third.answer(), 200, b"currencies")
            check(await third.answer(), 200, b"live")
        first.writer.transport.abort()
    await server.application.endpoint.streams.close(1)
    await none_held(server)


@pytest.mark.slow
async def test_incomplete_bodies_are_counted(
    server: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "MOST_EACH", 150_000)
    large = posted(QUERY.ljust(70_000))
    async with raw(server.url) as first, raw(server.url) as second, raw(server.url) as third:
        for client in (first, second):
            client.send(large[:-1])
        async with asyncio.timeout(60):
            while server.application.backlog_budget.total < 140_000:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.01)
        third.send(large[:-1])
        check(await third.answer(), 503, b"SERVICE_UNAVAILABLE")
        assert await third.closed()
        first.send(large[-1:])
        check(await first.answer(), 200, b"currencies")
        first.send(large)
        check(await first.answer(), 200, b"currencies")
    await none_held(server)


@pytest.mark.parametrize("last", [WHOLE.replace(b"Host", b"Connection: close\r\nHost"),
                                  WHOLE.replace(b"HTTP/1.1", b"HTTP/1.0")])  # fmt: skip
async def test_no_response_follows_the_last_one(reader: Reader, last: bytes) -> None:
    async with raw(reader.url) as client:
        client.send(last + LIVE * 3000)
        check(await client.answer(), 200, b"currencies")
        assert await client.closed()


async def test_a_handshake_waits_for_earlier_responses(reader: Reader) -> None:
    async with raw(reader.url) as client:
        client.send(WHOLE + LIVE + HANDSHAKE)
        check(await client.answer(), 200, b"currencies")
        check(await client.answer(), 200, b"live")
        assert (await client.answer()).status == 101


async def test_requests_after_a_handshake_are_not_answered(reader: Reader) -> None:
    """The connection is a WebSocket, and the bytes are no frames."""
    async with raw(reader.url) as client:
        client.send(HANDSHAKE + LIVE * 2000)
        assert (await client.answer()).status == 101
        client.send(LIVE)
        assert b"HTTP/1.1" not in await client.reader.read()


@pytest.mark.parametrize("garbage", [b"no HTTP\r\n\r\n", b"X" * 40_000, LIVE[:-2] + b": x\r\n\r\n"])
async def test_an_error_does_not_corrupt_a_response(server: LiveServer, garbage: bytes) -> None:
    large = b'{"query": "{ __schema { types { name description fields { name description } } } }"}'
    async with raw(server.url) as client:
        client.send(posted(large) + garbage)
        check(await client.answer(), 200, b"__Schema")
        assert (await client.answer()).status in {400, 431}
        assert await client.closed()
    async with raw(server.url) as client:  # in a body whose answer has begun
        client.send(STREAM.replace(b"POST", b"GET").replace(b"/graphql", PATH) + CHUNKED[-30:])
        await client.reader.readuntil(b"SNAPSHOT")
        client.send(b"no length of a chunk\r\n")
        assert b"HTTP/1.1" not in await client.reader.read()


@pytest.mark.parametrize("length", [0, 1, 36, 100_000])
async def test_a_head_comes_in_few_pieces_wherever_its_length_stands(
    reader: Reader, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    pieces = 0
    parse = BoundedHttpProtocol._parse  # noqa: SLF001 - what is counted has no other name

    def counted(self: BoundedHttpProtocol, data: bytes, start: int, end: int) -> int:
        nonlocal pieces
        pieces += 1
        return parse(self, data, start, end)

    monkeypatch.setattr(BoundedHttpProtocol, "_parse", counted)
    head = b"POST /graphql HTTP/1.1\r\nContent-Length: %d\r\n" % length
    head += b"Content-Type: application/json\r\nCookie: " + b"a" * 30_000 + b"\r\n\r\n"
    async with raw(reader.url) as client:
        client.send(head + b" " * length + LIVE)
        assert (await client.answer()).status == 400
        check(await client.answer(), 200, b"live")
    assert pieces < 60, "4,096 bytes at a time, and what the socket gives"


@pytest.mark.parametrize("line", [b"", b"X: " + b"a" * 9_000 + b"\r\n"], ids=["good", "431"])
@pytest.mark.parametrize("behind", [0, 100, 55_000])
async def test_a_handshake_leaves_no_bytes_counted(
    server: LiveServer, line: bytes, behind: int
) -> None:
    backlog_budget = server.application.backlog_budget
    before = len(backlog_budget), backlog_budget.total
    for before_it in (b"", WHOLE):
        async with raw(server.url) as client:
            handshake = HANDSHAKE[:-2] + line + b"\r\n"
            client.send(before_it + handshake + b"z" * behind)
            if before_it:
                check(await client.answer(), 200, b"currencies")
            answer = await client.answer()
            assert answer.status == (431 if line else 101)
    async with asyncio.timeout(60):
        while (len(backlog_budget), backlog_budget.total) != before:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.01)
