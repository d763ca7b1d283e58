"""Rejected handshakes: each gets a JSON error with a code, and the connection closes."""

import asyncio
import json

import pytest

from tests.server.raw_client import raw
from tests.serving import Reader

KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
UPGRADE = (
    b"Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" + KEY
)
GET = b"GET /graphql HTTP/1.1\r\n"
SECONDS = 20  # more than anything takes

LINE = b"x" * 9000
TOO_LONG = "no more than 8192 bytes"

REFUSED = {
    "no key": (GET + UPGRADE.replace(KEY, b""), 400, "missing Sec-WebSocket-Key"),
    "a short key": (GET + UPGRADE.replace(b"Q==", b""), 400, "invalid Sec-WebSocket-Key"),
    "another version": (GET + UPGRADE.replace(b"13", b"8"), 400, "Sec-WebSocket-Version"),
    "two origins": (GET + UPGRADE + b"Origin: a\r\nOrigin: b\r\n", 400, "invalid Origin"),
    "no subprotocol": (GET + UPGRADE + b'Sec-WebSocket-Protocol: ""\r\n', 400, "expected token"),
    "a POST": (b"POST /graphql HTTP/1.1\r\n" + UPGRADE, 405, "unsupported HTTP method: POST"),
    "elsewhere": (b"GET /nothing HTTP/1.1\r\n" + UPGRADE, 404, "it is at /graphql"),
    # malformed for websockets, which does not notify uvicorn
    "many headers": (GET + UPGRADE + b"X: x\r\n" * 200, 431, "128 headers"),
    "a long header": (GET + UPGRADE + b"X: " + LINE + b"\r\n", 431, TOO_LONG),
    "a long address": (b"GET /?" + LINE + b" HTTP/1.1\r\n" + UPGRADE, 414, TOO_LONG),
    "a body": (GET + UPGRADE + b"Content-Length: 3\r\n", 400, "cannot be read"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_rejected_handshake_has_a_json_error(reader: Reader, name: str) -> None:
    sent, status, words = REFUSED[name]
    async with raw(reader.url) as client, asyncio.timeout(SECONDS):
        client.send(sent + b"\r\n" + (b"abc" if name == "a body" else b""))
        answer = await client.answer()
        assert answer.status == status
        assert answer.headers["content-type"] == "application/json; charset=utf-8"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers.get("allow") == ("GET" if status == 405 else None)
        (error,) = json.loads(answer.body)["errors"]
        code = "NOT_FOUND" if status == 404 else "BAD_USER_INPUT"
        assert error["extensions"] == {"code": code}
        assert words in error["message"]
        assert await client.closed()


async def test_a_handshake_of_another_site_is_refused_with_security_headers(reader: Reader) -> None:
    """The application refuses it, not websockets."""
    async with raw(reader.url) as client, asyncio.timeout(SECONDS):
        client.send(
            b"GET /graphql HTTP/1.1\r\nOrigin: https://evil.example\r\n" + UPGRADE + b"\r\n"
        )
        answer = await client.answer()
        assert answer.status == 403
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
