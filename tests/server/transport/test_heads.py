"""Heads with many lines, values or parameters, and unusual legal spellings, over real sockets."""

import json
from itertools import accumulate
from typing import ClassVar

import httptools
import pytest

from server.graphql import request_parsing
from server.http import negotiation
from tests.server.raw_client import HEAD, QUERY, Answer, raw
from tests.serving import Reader

START = b"GET /graphql?query=%7Bcurrencies%7Bcode%7D%7D HTTP/1.1\r\nHost: test\r\n"
NEXT = b"GET /health/live HTTP/1.1\r\nHost: test\r\n\r\n"
FILE = b"GET /graphiql/favicon.svg HTTP/1.1\r\nHost: test\r\n"
HANDSHAKE = (
    b"GET /graphql HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


async def ask(reader: Reader, sent: bytes) -> Answer:
    async with raw(reader.url) as client:
        client.send(sent)
        return await client.answer()


def message_of(answer: Answer) -> str:
    message: str = json.loads(answer.body)["errors"][0]["message"]
    return message


LISTS = [
    b"Accept", b"accept-encoding", b"If-None-Match", b"Range", b"X-Forwarded-For", b"Connection",
    b"Sec-WebSocket-Protocol", b"Sec-WebSocket-Extensions", b"Access-Control-Request-Headers",
]  # fmt: skip


@pytest.mark.parametrize("start", [START, FILE, HANDSHAKE])
@pytest.mark.parametrize("entry", [b",", b";", b"a;q=0.1,", b'"a" , '])
async def test_a_list_header_of_thousands_is_rejected(
    reader: Reader, start: bytes, entry: bytes
) -> None:
    for name in LISTS:
        line = name + b": x" + entry * (30_000 // len(entry))
        answer = await ask(reader, start + line + b"\r\n\r\n")
        assert answer.status == 431, name
        assert "more than 200 values" in message_of(answer)


@pytest.mark.parametrize("start", [START, FILE, HANDSHAKE])
@pytest.mark.parametrize(
    ("line", "count", "words"),
    [
        (b"Accept: a\r\n", 2000, "128 headers"),
        (b"a:\r\n", 7000, "128 headers"),
        (b"Accept:\r\n", 3000, "128 headers"),
        (b"X-Of-Its-Own: a\r\n", 129, "128 headers"),
        (b"Accept: a, b;q=1, c\r\n", 100, "200 values"),
    ],
)
async def test_lists_in_many_lines(
    reader: Reader, start: bytes, line: bytes, count: int, words: str
) -> None:
    answer = await ask(reader, start + line * count + b"\r\n")
    assert answer.status == 431
    assert words in message_of(answer)


async def test_heads_at_the_limit_are_accepted(reader: Reader) -> None:
    types = b", ".join(b"x/%d" % number for number in range(100))
    lines = b"".join(b"X-%d: a, b; c\r\n" % number for number in range(100))
    answer = await ask(reader, START + lines + b"Accept: %b, application/json\r\n\r\n" % types)
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("application/json")


async def test_trailers_without_an_end(reader: Reader) -> None:
    async with raw(reader.url) as client:
        client.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"a:\r\n" * 1000)
        assert (await client.answer()).status == 431
        assert await client.closed()


@pytest.mark.parametrize(
    "accept", [b"", b"Accept: text/html, */*;q=0.1\r\n", b"Accept: text/event-stream\r\n"]
)
@pytest.mark.parametrize("parameter", [b"a=b&", b"&", b"query=a&", b"a&", b"%61=%62&"])
async def test_parameters_of_a_query_string(
    reader: Reader, accept: bytes, parameter: bytes
) -> None:
    address = b"/graphql?" + parameter * (30_000 // len(parameter)) + b"query=%7Ba%7D"
    answer = await ask(reader, b"GET %b HTTP/1.1\r\n%b\r\n" % (address, accept))
    assert answer.status == 400
    assert "more than 100 parameters" in message_of(answer)


@pytest.mark.parametrize(
    "accept", [b"", b"Accept: text/html, */*;q=0.1\r\n", b"Accept: text/event-stream\r\n"]
)
@pytest.mark.parametrize("piece", [b"%", b"%%", b"%4", b"%zz", b"%0g%", b"%41%"])
async def test_percent_signs_of_a_query_string(
    reader: Reader, monkeypatch: pytest.MonkeyPatch, accept: bytes, piece: bytes
) -> None:
    address = b"/graphql?query=" + piece * (30_000 // len(piece))
    monkeypatch.setattr(request_parsing, "QueryParams", None)  # nothing is decoded
    answer = await ask(reader, b"GET %b HTTP/1.1\r\n%b\r\n" % (address, accept))
    assert answer.status == 400
    assert "`%25`" in message_of(answer)


async def test_a_few_stray_percent_signs_are_accepted(reader: Reader) -> None:
    query = b"{%20a:%20coins(filter:{search:%22" + b"100%" * 9 + b"%22}){totalCount}}"
    answer = await ask(reader, b"GET /graphql?query=%b HTTP/1.1\r\n\r\n" % query)
    assert (answer.status, answer.body) == (200, b'{"data":{"a":{"totalCount":0}}}')


@pytest.mark.parametrize("start", [START, FILE, HANDSHAKE])
@pytest.mark.parametrize("piece", [b"%", b"%41", b"%zz"])
async def test_percent_signs_of_a_path(reader: Reader, start: bytes, piece: bytes) -> None:
    address, count = start.split()[1].split(b"?")[0], 30_000 // len(piece)
    answer = await ask(reader, start.replace(address, address + piece * count, 1) + b"\r\n")
    assert (answer.status, "200 percent" in message_of(answer)) == (400, True)
    answer = await ask(reader, start.replace(address, b"/" + piece * 200, 1) + b"\r\n")
    assert answer.status in {403, 404}


async def test_a_header_is_parsed_once_per_request(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[bytes] = []
    weights = negotiation.weights

    def noted(header: bytes) -> dict[bytes, float]:
        read.append(header)
        return weights(header)

    monkeypatch.setattr(negotiation, "weights", noted)
    accept = b"application/json, " + b"x/y, " * 150
    answer = await ask(reader, START + b"Accept: " + accept + b"\r\n\r\n")
    assert answer.status == 200
    assert 1 <= read.count(accept.strip()) <= 3, "once for each thing that is chosen by it"


@pytest.mark.parametrize("sent", [
    b"Content-Length: %d ", b"Content-Length: %d\t", b"Content-Length:%d", b"content-length: 00%d",
    b"Content-Length:\t %d \t ", b"CONTENT-LENGTH: 0000000000000000000000000000000%d",
])  # fmt: skip
async def test_legal_spellings_of_a_length(reader: Reader, sent: bytes) -> None:
    async with raw(reader.url) as client:
        client.send((HEAD + sent % len(QUERY) + b"\r\n\r\n" + QUERY) * 2)
        for _ in range(2):
            answer = await client.answer()
            assert answer.status == 200, answer


@pytest.mark.parametrize(
    "length", [b"-1", b"+36", b"3 6", b"36, 36", b"0x24", b"36.0", b"", b"3e1"]
)
async def test_illegal_spellings_of_a_length(reader: Reader, length: bytes) -> None:
    answer = await ask(reader, HEAD + b"Content-Length: %b\r\n\r\n" % length + QUERY)
    assert answer.status == 400


@pytest.mark.parametrize("length", [b"9" * 18, b"1" + b"0" * 18, b"18446744073709551615"])
async def test_lengths_of_many_digits(reader: Reader, length: bytes) -> None:
    answer = await ask(reader, HEAD + b"Content-Length: %b\r\n\r\n" % length + QUERY)
    assert answer.status == 413


@pytest.mark.parametrize("space", [b" ", b"\t", b" \t "])
async def test_trailing_space_in_values(reader: Reader, space: bytes) -> None:
    end = space + b"\r\n"
    lines = [b"Content-Encoding: identity", b"Content-Length: %d" % len(QUERY)]
    lines += [b"Expect: 100-continue", b"Accept: application/json", b"X-Request-ID: mine"]
    head = HEAD.replace(b"\r\n", end).replace(b"1.1" + space, b"1.1") + b"".join(
        line + end for line in lines
    )
    async with raw(reader.url) as client:
        client.send(head + b"\r\n")
        assert (await client.answer()).status == 100
        client.send(QUERY)
        answer = await client.answer()
    assert answer.status == 200
    assert answer.headers["x-request-id"] == "mine"
    assert answer.headers["content-type"].startswith("application/json")
    answer = await ask(
        reader,
        HANDSHAKE.replace(b"websocket", b"websocket" + space)
        + b"Sec-WebSocket-Protocol: graphql-transport-ws%b\r\n\r\n" % space,
    )
    assert answer.status == 101


async def test_a_transfer_coding_with_trailing_space(reader: Reader) -> None:
    head = HEAD + b"Transfer-Encoding: chunked \r\n\r\n"
    answer = await ask(reader, head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(QUERY), QUERY))
    assert answer.status == 200


class CountingParser(httptools.HttpRequestParser):
    """httptools' parser, which records how many bytes it is fed at a time."""

    fed: ClassVar[list[int]] = []

    def feed_data(self, data: bytes | memoryview) -> None:  # type: ignore[override] # as we call it
        self.fed.append(len(data))
        super().feed_data(data)


@pytest.mark.parametrize("border", ["header", "address"])
@pytest.mark.parametrize("beyond", range(-20, 20))
async def test_the_end_of_a_head_near_the_end_of_a_piece(
    reader: Reader, monkeypatch: pytest.MonkeyPatch, border: str, beyond: int
) -> None:
    """The next request is not parsed in the same piece."""
    monkeypatch.setattr(httptools, "HttpRequestParser", CountingParser)
    fed: list[int] = []
    monkeypatch.setattr(CountingParser, "fed", fed)
    size = 2 * 4096 + beyond
    if border == "header":
        head = NEXT[:-2] + b"X: " + b"x" * (size - len(NEXT) - 5) + b"\r\n\r\n"
    else:
        short = b"GET /health/live? HTTP/1.1\r\n\r\n"
        head = short.replace(b"?", b"?" + b"x" * (size - len(short)))
    assert len(head) == size
    async with raw(reader.url) as client:
        client.send(head + NEXT * 2)
        for _ in range(3):
            answer = await client.answer()
            assert (answer.status, b"live" in answer.body) == (200, True)
    assert {size, size + len(NEXT), size + 2 * len(NEXT)} <= set(accumulate(fed))
