"""HTTP bytes that no library sends: requests of any parts, pipelined, whole or damaged."""

import json
from random import Random
from urllib.parse import quote

from tests.fuzz.http_parts import METHODS, NAMED, PATHS, QUERIES, STRANGE, VERSIONS
from tests.fuzz.values import TEXTS, cut, value


def requests(random: Random) -> list[bytes]:
    """Make the bytes of one connection, in the pieces in which they are sent."""
    count = random.choice([1, 1, 1, 2, 3, 5])
    sent = b"".join(_request(random, last=place == count - 1) for place in range(count))
    if random.random() < 0.35:
        sent = cut(random, sent, STRANGE)
    places = sorted(random.randrange(len(sent) + 1) for _ in range(random.choice([0, 0, 1, 4])))
    return [sent[a:b] for a, b in zip([0, *places], [*places, len(sent)], strict=True)]


def count_of(pieces: list[bytes]) -> int:
    """Count requests, also damaged ones."""
    return max(1, b"".join(pieces).count(b"HTTP/"))


def _request(random: Random, *, last: bool) -> bytes:
    method, path = random.choice(METHODS), random.choice(PATHS)
    if method in {b"GET", b"HEAD"} and random.random() < 0.8:
        path += b"?" + _address(random)
    body = _body(random) if method == b"POST" or random.random() < 0.1 else b""
    headers = [(b"Host", b"test")] if random.random() < 0.97 else []
    if body:
        headers.append((b"Content-Type", random.choice(NAMED[b"Content-Type"])))
    more = random.sample(list(NAMED), random.choice([0, 1, 1, 2, 4]))
    headers += [(name, random.choice(NAMED[name])) for name in more]
    if last and random.random() < 0.9:
        headers.append((b"Connection", b"close"))
    if random.random() < 0.2:
        headers.append((b"Transfer-Encoding", b"chunked"))
        body = _chunked(random, body)
    elif body and random.random() < 0.95:
        off = random.choice([0] * 12 + [1, -1, 100])
        headers.append((b"Content-Length", b"%d" % (len(body) + off)))
    version = random.choice(VERSIONS)
    lines = [b"%b %b %b" % (method, path, version), *(b"%b: %b" % each for each in headers)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def _address(random: Random) -> bytes:
    parts = [("query", random.choice(QUERIES))]
    for name in random.sample(["variables", "operationName", "extensions", "query", "x"], 2):
        given = random.choice(['{"c": "bitcoin"}', "", "[]", "{", "null", *TEXTS])
        parts.append((name, given))
    text = "&".join(f"{name}={quote(each, errors='surrogatepass')}" for name, each in parts)
    coded = text.encode()
    return (
        cut(random, coded, [b"%", b"%f", b"%00", b"+", b"&", b"=", b";", b"#", b"%ED%A0%80"])
        if (random.random() < 0.3)
        else coded
    )


def _body(random: Random) -> bytes:
    fields = {"query": random.choice(QUERIES), "variables": {"c": random.choice(TEXTS)}}
    match random.randrange(8):
        case 0:
            fields[random.choice(["query", "variables", "operationName", "extensions"])] = value(
                random
            )
        case 1:
            fields["extensions"] = {
                "persistedQuery": random.choice(
                    [
                        {"version": 1, "sha256Hash": "0" * 64},
                        {"version": 1},
                        {},
                        None,
                        {"sha256Hash": "É"},
                    ]
                )
            }
        case 2:
            return random.choice(
                [
                    b"[" * 90_000,
                    b'{"a":' * 20_000,
                    b"[]",
                    b"null",
                    b"1",
                    b'"',
                    b"#" * 120_000,
                    b"\xff",
                    b" ",
                ]
            )
        case 3:
            return cut(
                random, json.dumps(fields).encode(), [b"\\ud800", b"\xff", b"\0", b"1e999", b"NaN"]
            )
    return json.dumps(fields).encode()


def _chunked(random: Random, body: bytes) -> bytes:
    made, at = b"", 0
    while at < len(body):
        size = random.choice([1, 3, 50, 60_000])
        piece = body[at : at + size]
        lie = random.choice([0] * 40 + [1, -1])
        extension = random.choice([b""] * 6 + [b";a=b", b";" + b"x" * 5000])
        made += b"%x%b\r\n%b\r\n" % (max(len(piece) + lie, 0), extension, piece)
        at += size
    ends = [b"0\r\n\r\n"] * 6 + [
        b"0\r\nA: b\r\n\r\n",
        b"",
        b"0\r\n",
        b"-1\r\n\r\n",
        b"f" * 17 + b"\r\n",
        b"0\r\n" + b"a: b\r\n" * 9000 + b"\r\n",
    ]
    return made + random.choice(ends)
