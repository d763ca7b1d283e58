"""Bounds on the size and the duration of requests, over real sockets."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator

import pytest

from server.transport import http_bounds
from simulator import Simulator
from tests.server.raw_client import HEAD, QUERY, WHOLE, Answer, Raw, raw
from tests.serving import LiveServer, Reader, live_server, make_settings

DEEP = b"[" * 300 + b"]" * 300


def refused(answer: Answer, status: int) -> str:
    assert answer.status == status, answer
    assert answer.headers["x-content-type-options"] == "nosniff"
    (error,) = json.loads(answer.body)["errors"]
    assert error["extensions"] == {"code": "BAD_USER_INPUT"}
    message: str = error["message"]
    return message


async def ask(reader: Reader, body: bytes, *headers: bytes) -> Answer:
    """Send a body and check that the connection serves the next request."""
    async with raw(reader.url) as client:
        lines = b"".join(b"%b\r\n" % header for header in headers)
        client.send(HEAD + lines + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        answer = await client.answer()
        client.send(WHOLE)
        assert (await client.answer()).status == 200
        return answer


async def test_ten_megabytes_of_comment(reader: Reader) -> None:
    """They are rejected by their head and discarded as they arrive."""
    body = b'{"query": "' + b"#" * 10_000_000 + b'"}'
    assert "100,000 bytes" in refused(await ask(reader, body), 413)


async def test_a_response_precedes_the_body(reader: Reader) -> None:
    async with raw(reader.url) as client:
        client.send(HEAD + b"Content-Length: 10000000\r\n\r\n" + b"#" * 1000)
        assert "100,000 bytes" in refused(await client.answer(), 413)


async def test_a_client_waiting_for_100_continue_sends_no_body(reader: Reader) -> None:
    async with raw(reader.url) as client:
        client.send(HEAD + b"Expect: 100-continue\r\nContent-Length: 10000000\r\n\r\n")
        assert "100,000 bytes" in refused(await client.answer(), 413)


async def test_chunks_without_an_end(reader: Reader) -> None:
    async with raw(reader.url) as client:
        chunk = b"ffff\r\n%b\r\n" % (b"#" * 65_535)
        client.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 2)
        assert "100,000 bytes" in refused(await client.answer(), 413)
        client.send(b"0\r\n\r\n" + WHOLE)
        assert (await client.answer()).status == 200


async def test_more_bytes_than_are_discarded(reader: Reader) -> None:
    async with raw(reader.url) as client:
        client.send(HEAD + b"Content-Length: 100000000\r\n\r\n")
        assert "100,000 bytes" in refused(await client.answer(), 413)
        client.send(b"#" * (http_bounds.MOST_BYTES + 1))
        assert await client.closed()


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (b"Content-Encoding: gzip", "without `Content-Encoding`"),
        (b"Content-Encoding: br", "without `Content-Encoding`"),
        (b"Content-Encoding: identity, gzip", "without `Content-Encoding`"),
    ],
)
async def test_compressed_bodies(reader: Reader, header: bytes, words: str) -> None:
    bomb = gzip.compress(b'{"query": "' + b"#" * 10_000_000 + b'"}')
    assert words in refused(await ask(reader, bomb, header), 415)
    plain = await ask(reader, QUERY, b"Content-Encoding: identity")
    assert plain.status == 200


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json; charset=utf-8", 200), ('application/json;charset="UTF-8"', 200),
        ("application/json ; charset=utf8", 200), ("application/json;", 200),
        ("application/json; charset=utf-16", 415), ("application/json; charset=latin1", 415),
        ("application/json; boundary=x", 415), ("application/jsonx", 415),
        ("text/plain; application/json", 415), ("multipart/form-data; boundary=x", 415),
        ("text/plain", 415), ("application/x-www-form-urlencoded", 415),
    ],
)  # fmt: skip
async def test_content_types(reader: Reader, content_type: str, status: int) -> None:
    answer = await reader.http.post(
        "/graphql", content=QUERY, headers={"Content-Type": content_type}
    )
    assert answer.status_code == status


@pytest.mark.parametrize(
    ("query", "variables", "words"),
    [
        ("query ($c: ID!) { coin(id: $c) { id } }", b'{"c": %b}' % DEEP, "nested too deeply"),
        ("{ __typename }", b'{"unused": %b}' % DEEP, "nested too deeply"),
        ("query ($n: Int!) { coins(first: $n) { totalCount } }", b'{"n": 18446744073709551616}',
         "32-bit"),
        ("query ($n: Int!) { coins(first: $n) { totalCount } }", b'{"n": 1e300}', "32-bit"),
        ("query ($n: Int!) { coins(first: $n) { totalCount } }", b'{"n": %b}' % (b"9" * 10_000),
         "not JSON"),
        ("query ($n: Int!) { coins(first: $n) { totalCount } }", b'{"n": 1e999}', "not JSON"),
        ("query ($n: Int!) { coins(first: $n) { totalCount } }", b'{"n": NaN}', "not JSON"),
        ("query ($c: ID!) { coin(id: $c) { id } }", b'{"c": "\\ud800"}', "not JSON"),
        (f"{{ coins(first: {'9' * 10_000}) {{ totalCount }} }}", b"{}", "too many digits"),
        (f"{{ anomalies(window: {'9' * 90_000}) {{ anomalies {{ coin }} }} }}", b"{}", "digits"),
    ],
)  # fmt: skip
async def test_numbers_and_nesting(
    reader: Reader, query: str, variables: bytes, words: str
) -> None:
    body = b'{"query": %b, "variables": %b}' % (json.dumps(query).encode(), variables)
    answer = await ask(reader, body)
    assert answer.status == 400, answer
    error = json.loads(answer.body)["errors"][0]
    assert words in error["message"]
    assert "set_int_max_str_digits" not in error["message"]


async def test_heads_that_are_too_large(reader: Reader) -> None:
    for many in (40_000, 400_000):
        for head in (
            b"GET /graphql?query=" + b"#" * many,
            b"GET /graphql?query=" + b"#" * many + b" HTTP/1.1\r\nHost: test\r\n\r\n",
            b"GET /graphql HTTP/1.1\r\nX-Long: " + b"x" * many,
            b"GET /graphql HTTP/1.1\r\n" + b"X: %b\r\n" % (b"x" * 994) * (many // 1000) + b"\r\n",
        ):
            async with raw(reader.url) as client:
                client.send(head)
                assert "32,000 bytes" in refused(await client.answer(), 431)
                assert await client.closed()
    async with raw(reader.url) as client:  # a large body does not count
        body = QUERY.ljust(90_000)
        client.send(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        assert (await client.answer()).status == 200


@pytest.mark.parametrize(
    "sent", [b"\x16\x03\x01\x02\x00\x01", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\n: x\r\n\r\n",
             b"POST /graphql HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
             b"POST /graphql HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"],
)  # fmt: skip
async def test_bytes_that_are_no_http(reader: Reader, sent: bytes) -> None:
    async with raw(reader.url) as client:
        client.send(sent)
        assert refused(await client.answer(), 400) == "Invalid HTTP request received."
        assert await client.closed()


@pytest.fixture
async def hasty(
    database_url: str, shared_simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[LiveServer]:
    """A server with very short timeouts."""
    for name in ("HEAD_SECONDS", "BODY_SECONDS", "LINGER_SECONDS", "STALLED_SECONDS"):
        monkeypatch.setattr(http_bounds, name, 0.2)
    async with live_server(make_settings(database_url, shared_simulator)) as server:
        yield server


async def dribble(client: Raw, data: bytes) -> None:
    """Send a byte now and then until a response arrives."""
    for byte in data:
        if client.writer.is_closing():
            return
        client.send(bytes([byte]))
        await asyncio.sleep(0.01)


@pytest.mark.slow
async def test_slow_senders(hasty: LiveServer) -> None:
    endless = b"x" * 10_000
    for start, rest in (
        (b"GET / HTTP/1.1\r\nX: ", endless),
        (b"G", b""),
        (WHOLE + b"GET /", endless),
    ):
        async with raw(hasty.url) as client:
            client.send(start)
            if start.startswith(WHOLE):
                assert (await client.answer()).status == 200
            sending = asyncio.create_task(dribble(client, rest))
            assert "headers did not arrive" in refused(await client.answer(), 408)
            sending.cancel()
            assert await client.closed()
    async with raw(hasty.url) as client:
        client.send(HEAD + b"Content-Length: 50000\r\n\r\n")
        sending = asyncio.create_task(dribble(client, b" " * 10_000))
        assert "took too long" in refused(await client.answer(), 408)
        sending.cancel()
        assert await client.closed(), "what is left of the body is not waited for"


async def test_a_silent_client_is_disconnected(hasty: LiveServer) -> None:
    async with raw(hasty.url) as client:
        assert await client.closed()


async def test_a_client_that_does_not_read_is_disconnected(hasty: LiveServer) -> None:
    large = b'{"query": "{ __schema { types { name description fields { name description } } } }"}'
    async with raw(hasty.url) as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined] # of sockets
        client.send((HEAD + b"Content-Length: %d\r\n\r\n" % len(large) + large) * 400)
        async with asyncio.timeout(60):
            while not client.writer.is_closing():  # a closed socket is only noticed by writing
                client.send(b" ")
                await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("line", "coding"),
    [
        (b"HTTP/1.1", b"gzip, chunked"),
        (b"HTTP/1.1", b"chunked, identity"),
        (b"HTTP/1.1", b"xchunked"),
        (b"HTTP/1.0", b"chunked"),
    ],
)
async def test_other_transfer_codings_are_rejected(
    reader: Reader, line: bytes, coding: bytes
) -> None:
    async with raw(reader.url) as client:
        head = HEAD.replace(b"HTTP/1.1", line)
        client.send(head + b"Transfer-Encoding: %b\r\n\r\n0\r\n\r\n" % coding)
        assert (await client.answer()).status == 400
        assert await client.closed()


async def test_plain_chunks_are_accepted(reader: Reader) -> None:
    async with raw(reader.url) as client:
        chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (len(QUERY), QUERY)
        client.send(HEAD + b"Transfer-Encoding: Chunked\r\n\r\n" + chunk)
        assert (await client.answer()).status == 200
