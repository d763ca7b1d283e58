"""WebSocket bytes that no library sends: any messages in any order, in any frames or none."""

import json
import struct
from collections.abc import Iterator
from random import Random
from typing import Any

from tests.fuzz.documents import variation
from tests.fuzz.open_documents import open_documents
from tests.fuzz.values import KNOWN, TEXTS, cut, value
from tests.serving import TOKEN

HANDSHAKE = (
    b"GET /graphql HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n"
)
_TEXT, _BINARY, _CLOSE, _PING, _PONG = 1, 2, 8, 9, 10
_RUN = "0190a000-0000-7000-8000-000000000000"
_OPERATIONS = [
    *("subscription { priceUpdates { kind revision prices { coin currency price } } }",) * 4,
    "subscription($s: BigInt) { priceUpdates(since: $s) { kind } }",
    'subscription { priceUpdates(coins: ["nope"]) { kind } }',
    "subscription { a: priceUpdates { ...F } } fragment F on PriceUpdate { kind }",
    "subscription { priceUpdates { kind } refreshProgress { id } }",
    f'subscription {{ refreshProgress(runId: "{_RUN}") {{ status }} }}',
    "subscription($s: ID!) { refreshProgress(runId: $s) { status items { coin } } }",
    *(
        "{ currencies { code } }",
        "{ coins { nodes { id latest { price } } } }",
        "{ nope }",
        "{",
        "",
    ),
    "query A { __typename } subscription B { priceUpdates { kind } }",
    "mutation { refreshPrices(input: {days: 1}) { started run { id } } }",
    "mutation { refreshPrices(input: {days: -1}) { started } }",
    "subscription { __typename }",
    "subscription { priceUpdates @skip(if: true) { kind } }",
]
_STRANGE = [
    b"\0",
    b"\xff",
    b'"',
    b"{",
    b"}",
    b"[" * 2000,
    b"null",
    b"\\ud800",
    b'"type":"complete",',
    b"\xc3",
]
_LINES = [
    *(
        b"GET /graphql?\xff HTTP/1.1",
        b"GET /%ff\xc3 HTTP/1.1",
        b"GET /nope HTTP/1.1",
        b"GET / HTTP/1.1",
    ),
    *(
        b"POST /graphql HTTP/1.1",
        b"GET /graphql HTTP/1.0",
        b"GET http://x/graphql HTTP/1.1",
        b"Host: \xff",
    ),
    *(
        b"Origin: http://evil.example",
        b"Origin: null",
        b"Authorization: Bearer \xff",
        b"Content-Length: 5",
    ),
    *(
        b"Sec-WebSocket-Protocol: graphql-ws",
        b"Sec-WebSocket-Protocol: ,,",
        b"Sec-WebSocket-Protocol: \xff",
    ),
    *(
        b"Sec-WebSocket-Extensions: permessage-deflate",
        b"Sec-WebSocket-Extensions: ;",
        b"X-\xff: 1",
    ),
    *(b"Sec-WebSocket-Key: short", b"Sec-WebSocket-Version: 8", b"Connection: keep-alive, Upgrade"),
    *(
        b"Upgrade: websocket, h2c",
        b"Upgrade: WEBSOCKET",
        b"Transfer-Encoding: chunked",
        b"A: " + b"x" * 9000,
    ),
]
_IDS = ["1", "1", "2", "3", "", "é" * 256, "x" * 257]


def conversation(random: Random) -> list[bytes]:
    """Make the bytes sent after the handshake: frames or parts of frames."""
    sent = []
    if random.random() < 0.9:
        token = random.choice([TOKEN, TOKEN, "wrong", "é", ""])
        payload = random.choice(
            [None, {}, {"Authorization": f"Bearer {token}"}, {"authorization": 1}]
        )
        sent.append(_frame(random, _json({"type": "connection_init", "payload": payload}), _TEXT))
    for _ in range(random.choice([1, 3, 8, 15, 25])):
        sent.extend(_anything(random))
    if random.random() < 0.3:
        sent.append(_frame(random, _close(random), _CLOSE))
    return sent


def handshake(random: Random) -> bytes:
    """Make a damaged handshake, or one with extra headers."""
    lines = HANDSHAKE.rstrip().split(b"\r\n")
    for _ in range(random.choice([0, 1, 3])):
        lines[random.randrange(len(lines))] = random.choice(_LINES)
    made = b"\r\n".join(lines) + b"\r\n\r\n"
    return (
        cut(random, made, [b"\xff", b"\0", b"\r\n", b"%", b"\xc3\xa9"])
        if random.random() < 0.5
        else made
    )


def event_streams(random: Random) -> bytes:
    """Make a request for Server-Sent Events."""
    fields = _payload(random)
    if random.random() < 0.2:
        fields[random.choice(["query", "variables", "extensions"])] = value(random)
    body = json.dumps(fields).encode()
    if random.random() < 0.2:
        body = cut(random, body, _STRANGE)
    lines = [
        b"POST /graphql HTTP/1.1\r\nHost: test\r\nContent-Type: application/json",
        b"Accept: "
        + random.choice([b"text/event-stream"] * 5 + [b"text/event-stream;q=0.9, */*;q=0.1"]),
        b"Content-Length: %d" % len(body),
    ]
    if random.random() < 0.5:
        lines.append(b"Authorization: Bearer " + random.choice([TOKEN.encode(), b"wrong"]))
    if random.random() < 0.3:
        lines.append(b"Last-Event-ID: " + random.choice([b"1", b"-1", b"x", b"9" * 30]))
    more = HANDSHAKE if random.random() < 0.1 else b""  # pipelined
    return b"\r\n".join(lines) + b"\r\n\r\n" + body + more


def _payload(random: Random) -> dict[str, Any]:
    if random.random() < 0.5:
        return variation(random.choice(open_documents()), random)
    fields: dict[str, Any] = {"query": random.choice(_OPERATIONS)}
    if "$s" in fields["query"] or random.random() < 0.1:
        fields["variables"] = {"s": random.choice([0, 1, -1, 2**63 - 1, _RUN, value(random)])}
    if random.random() < 0.1:
        fields["operationName"] = random.choice(["A", "B", "", None, 1])
    return fields


def _anything(random: Random) -> Iterator[bytes]:
    """Make a message in one frame or in fragments, a control frame, or garbage."""
    kind = random.random()
    if kind < 0.75:
        data = _json(_message(random))
        if random.random() < 0.1:
            data = cut(random, data, _STRANGE)
        yield from _fragments(random, data)
    elif kind < 0.9:
        size = random.choice([0, 5, 125, 126, 3000])
        yield _frame(random, b"x" * size, random.choice([_PING, _PONG, _PONG]))
    elif kind < 0.93:
        yield _frame(random, _json(_message(random)), random.choice([0, _BINARY, 3, 7, 11, 15]))
    elif kind < 0.97:
        yield cut(random, _frame(random, _json(_message(random)), _TEXT), [b"\xff" * 9, b"\0" * 9])
    else:
        yield bytes(random.randrange(256) for _ in range(random.choice([1, 10, 300])))


def _message(random: Random) -> Any:
    if random.random() < 0.03:
        return value(random)
    fields: dict[str, Any]
    match random.randrange(10):
        case 0 | 1 | 2 | 3 | 4:
            fields = {
                "type": "subscribe",
                "id": random.choice(_IDS[:4]),
                "payload": _payload(random),
            }
        case 5 | 6:
            fields = {"type": "complete", "id": random.choice(_IDS)}
        case 7:
            fields = {"type": "ping", "payload": random.choice([None, {}, {"a": TEXTS}])}
        case 8:
            fields = {"type": "pong"}
        case _:
            kinds = [
                "connection_init",
                "next",
                "error",
                "start",
                "connection_ack",
                "",
                None,
                1,
                *KNOWN,
            ]
            fields = {"type": random.choice(kinds), "id": "1"}
    if random.random() < 0.07:
        fields[random.choice(["type", "id", "payload", "extra"])] = value(random)
    if random.random() < 0.03:
        del fields[random.choice(list(fields))]
    return fields


def _fragments(random: Random, data: bytes) -> Iterator[bytes]:
    count = random.choice([1, 1, 1, 2, 5])
    size = len(data) // count + 1
    for place in range(count):
        piece = data[place * size : (place + 1) * size]
        yield _frame(random, piece, 0 if place else _TEXT, final=place == count - 1)
        if place < count - 1 and random.random() < 0.2:
            yield _frame(random, b"between", _PING)


def _frame(random: Random, data: bytes, opcode: int, *, final: bool = True) -> bytes:
    """Make a masked frame, sometimes with a wrong bit or a wrong length."""
    first = (final << 7) | opcode
    if random.random() < 0.01:
        first |= random.choice([0x40, 0x20, 0x10])
    masked = random.random() < 0.99
    length = len(data) + random.choice([0] * 150 + [1, -1, 2**20])
    length = max(length, 0)
    if length < 126:
        head = bytes([first, masked << 7 | length])
    elif length < 2**16:
        head = struct.pack("!BBH", first, masked << 7 | 126, length)
    else:
        head = struct.pack("!BBQ", first, masked << 7 | 127, length)
    if not masked:
        return head + data
    mask = random.randbytes(4)
    return head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))


def _close(random: Random) -> bytes:
    code = random.choice([1000, 1001, 1005, 1006, 1015, 999, 0, 4400, 5000, 65535])
    return random.choice(
        [struct.pack("!H", code) + b"bye", struct.pack("!H", code), b"", b"x", b"\x03\xe8\xff"]
    )


def _json(content: Any) -> bytes:
    return json.dumps(content, ensure_ascii=False).encode(errors="surrogatepass")
