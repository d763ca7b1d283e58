"""Tokens, passwords and keys are never shown, whatever fails, at any log level."""

import asyncio
import base64
import contextlib
import http.server
import json
import socketserver
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from server.http.access_log import is_valid_request_id
from tests.server.postgres_processes import eventually
from tests.server.raw_client import raw
from tests.server.server_process import Served, served

pytestmark = pytest.mark.processes

REFRESH, READ = "refresh-s3cret-4711", "read-s3cret-0815"
WRONG = "wrong-s3cret-1234"
KEY, URL_PASSWORD, DATABASE_PASSWORD = "CG-s3cret-key", "url-s3cret-pw", "db-s3cret-pw"
USER, WORDS = "somebody", "words of upstream"
SECRETS = (REFRESH, READ, WRONG, KEY, URL_PASSWORD, DATABASE_PASSWORD)

REASONS = """{
  seriesStatus { lastError }
  refreshRuns { nodes { error note items { error note } } }
}"""
UPGRADE = (
    "Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


class Echo(http.server.BaseHTTPRequestHandler):
    """An upstream that fails and echoes the request in its response."""

    def do_GET(self) -> None:
        status = {"/api/v3/coins/bitcoin": 401, "/api/v3/ping": 500}.get(
            self.path.partition("?")[0], 400
        )
        body = f'{{"error": "bad request {self.path} {dict(self.headers)}"}}'.encode()
        self.send_response(status, f"No {KEY}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None: ...


class Doorkeeper(socketserver.BaseRequestHandler):
    """A PostgreSQL that requires a clear-text password and echoes it in its error."""

    state = b"57P03"  # it cannot be connected to now, but that may change

    def handle(self) -> None:
        def message(kind: bytes, body: bytes) -> bytes:
            return kind + struct.pack("!i", len(body) + 4) + body

        with contextlib.suppress(ConnectionError, struct.error):
            size, code = struct.unpack("!ii", self.request.recv(8))
            if code == 80877103:  # SSLRequest
                self.request.sendall(b"N")
                size, code = struct.unpack("!ii", self.request.recv(8))
            self.request.recv(size - 8)
            self.request.sendall(message(b"R", struct.pack("!i", 3)))
            sent = self.request.recv(1000)[5:-1]
            response = b"SFATAL\0C%b\0Mthis is refused: %b\0\0" % (self.state, sent)
            self.request.sendall(message(b"E", response))


class Refuser(Doorkeeper):
    state = b"28P01"  # the password is wrong, and stays so


class Threads(socketserver.ThreadingTCPServer):
    daemon_threads = True
    asked = 0

    def process_request(self, *given: Any) -> None:
        self.asked += 1
        super().process_request(*given)


@contextlib.contextmanager
def answering(handler: type[socketserver.BaseRequestHandler]) -> Iterator[Threads]:
    with Threads(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def check(server: Served, *answers: str) -> None:
    text = server.log.read_text()
    assert "serving" in text
    for secret in SECRETS:
        for form in (secret, base64.b64encode(secret.encode()).decode().rstrip("=")):
            assert form not in text, [line for line in text.splitlines() if form in line]
            assert not any(form in answer for answer in answers)
    for answer in answers:
        assert not any(leak in answer for leak in ("Traceback", "SELECT", "asyncpg", ".py"))


def settings(**more: str) -> dict[str, str]:
    return {
        "REFRESH_TOKENS": REFRESH,
        "READ_TOKENS": READ,
        "COINGECKO_API_KEY": KEY,
        "LOG_LEVEL": "debug",
        **more,
    }


@pytest.mark.parametrize("log_format", ["json", "console"])
async def test_a_database_and_an_upstream_that_echo_secrets(
    tmp_path: Path, log_format: str
) -> None:
    with answering(Doorkeeper) as database, answering(Echo) as upstream:
        url = f"postgresql://coingraph:{DATABASE_PASSWORD}@127.0.0.1:{database.server_address[1]}/x"
        base = f"http://user:{URL_PASSWORD}@127.0.0.1:{upstream.server_address[1]}/api/v3"
        with served(
            tmp_path,
            **settings(DATABASE_URL=url, COINGECKO_BASE_URL=base, LOG_FORMAT=log_format),
        ) as server:
            eventually(lambda: "waiting for the database" in server.log.read_text(), 60)
            eventually(lambda: "startup complete" in server.log.read_text(), 60)
            found = server.log.read_text().partition("http://127.0.0.1:")[2]
            answers = await hostile(f"http://127.0.0.1:{int(found[: found.index('/')])}")
            assert database.asked > 0
            server.process.terminate()
            server.process.wait(60)
        check(server, *answers)


@pytest.mark.parametrize("where", ["url", "setting"])
def test_a_database_that_refuses_and_echoes_secrets(tmp_path: Path, where: str) -> None:
    with answering(Refuser) as database:
        secret = f":{DATABASE_PASSWORD}" if where == "url" else ""
        url = f"postgresql://coingraph{secret}@127.0.0.1:{database.server_address[1]}/x"
        more = {"DATABASE_PASSWORD": DATABASE_PASSWORD} if where == "setting" else {}
        with served(tmp_path, **settings(DATABASE_URL=url, **more)) as server:
            assert server.process.wait(60) == 2
    said = server.log.read_text()
    assert "this is refused: [hidden]. Correct the password" in said
    assert DATABASE_PASSWORD not in said


async def test_a_refresh_that_fails(tmp_path: Path, empty_url: str) -> None:
    with answering(Echo) as upstream:
        base = f"http://user:{URL_PASSWORD}@127.0.0.1:{upstream.server_address[1]}/api/v3"
        address = empty_url.replace("+asyncpg", "")
        with served(tmp_path, **settings(DATABASE_URL=address, COINGECKO_BASE_URL=base)) as server:
            server.await_line("refresh ended")
            answers = await hostile(server.url)
            headers = {"Authorization": f"Bearer {REFRESH}"}
            for query in (
                "mutation { refreshPrices(input: {wait: true}) { run { id error } } }",
                "{ refreshRuns { nodes { error } } seriesStatus { lastError } }",
            ):
                async with httpx.AsyncClient(trust_env=False, timeout=60) as http_client:
                    response = await http_client.post(
                        f"{server.url}/graphql", json={"query": query}, headers=headers
                    )
                assert response.status_code == 200, response.text
                answers.append(response.text)
            assert upstream.asked > 0
            server.process.terminate()
            server.process.wait(60)
        check(server, *answers)


class Quoting(http.server.BaseHTTPRequestHandler):
    """An upstream that rejects each coin and quotes the request in another way for each."""

    def do_GET(self) -> None:
        pair = f"{USER}:{URL_PASSWORD}"
        basic = base64.b64encode(pair.encode()).decode()
        assert self.headers["Authorization"] == f"Basic {basic}"
        coin = self.path.removeprefix("/api/v3/coins/").partition("/")[0]
        text = {
            "as-json": json.dumps({"error": f"<b>{WORDS}</b> {pair} {KEY}"}),
            "as-html": f"<html><title>{WORDS} {''.join(f'&#{ord(c)};' for c in pair)}</title>",
            "as-basic": json.dumps({"error": f"{WORDS} Basic {basic} {quote(basic, safe='')}"}),
            "as-split": json.dumps(
                {"error": f"{WORDS} {USER} {URL_PASSWORD.upper()} {URL_PASSWORD.encode().hex()}"}
            ),
        }.get(coin, f"{WORDS} {pair}")
        self.send_response(400, f"{WORDS} {pair}")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: Any) -> None: ...


async def test_messages_of_upstream_are_only_logged(tmp_path: Path, empty_url: str) -> None:
    """Every caller may query why a series failed."""
    coins = "as-json,as-html,as-basic,as-split"
    with answering(Quoting) as upstream:
        base = (
            f"http://{USER}:{quote(URL_PASSWORD, safe='')}"
            f"@127.0.0.1:{upstream.server_address[1]}/api/v3"
        )
        given = settings(DATABASE_URL=empty_url.replace("+asyncpg", ""), COINGECKO_BASE_URL=base)
        with served(tmp_path, **given | {"COINS": coins, "READ_TOKENS": ""}) as server:
            server.await_line("refresh ended")
            async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
                answer = await client.post(f"{server.url}/graphql", json={"query": REASONS})
    found = answer.json()["data"]
    shown = [each["lastError"] for each in found["seriesStatus"]]
    assert shown == ["CoinGecko answered 400"] * 4
    items = found["refreshRuns"]["nodes"][0]["items"]
    assert [each["error"] for each in items] == shown
    log = server.log.read_text()
    said = [line for line in server.lines("upstream call failed") if WORDS in line["said"]]
    assert {line["call"].split("/")[2] for line in said} >= set(coins.split(","))
    octets = URL_PASSWORD.encode()
    for form in (WORDS, USER, URL_PASSWORD, quote(URL_PASSWORD, safe=""), octets.hex(), KEY):
        assert form not in answer.text
        assert form in {WORDS, USER} or form.lower() not in log.lower()
    assert base64.b64encode(f"{USER}:".encode() + octets).decode()[8:-4] not in log
    assert f"&#{octets[0]};&#{octets[1]};" not in log


async def hostile(url: str) -> list[str]:
    """Send tokens in all places that may be logged; return the responses."""
    answers = []
    sent: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "/graphql", {"json": {"query": "{ currencies { code } }"}}),
        ("POST", "/graphql", {"json": {"query": "mutation { refreshPrices { started } }"}}),
        ("POST", "/graphql", {"json": {"query": f"{{ {WRONG} "}}),
        ("GET", f"/graphql?query={{__typename}}&access_token={WRONG}", {}),
        ("GET", f"/nothing?token={WRONG}", {}),
        ("PUT", "/graphql", {}),
    ]
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as client:
        for method, path, more in sent:
            for token in (REFRESH, READ, WRONG):
                headers = {"Authorization": f"Bearer {token}", "Cookie": f"t={token}"}
                answer = await client.request(method, path, headers=headers, **more)
                if WRONG not in str(more):  # an error may quote the document to its sender
                    answers.append(answer.text)
    for data in (
        f"GET /graphql HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {WRONG}\r\n: broken\r\n\r\n",
        f"{WRONG}\r\n\r\n",
        f"GET /graphql?token={WRONG} HTTP/1.1\r\nAuthorization: Bearer {READ}\r\n{UPGRADE}\r\n",
    ):
        async with raw(url) as connection:
            connection.send(data.encode())
            async with asyncio.timeout(60):
                sent_back = await connection.reader.read(10_000)  # frames of a WebSocket too
                answers.append(sent_back.decode("latin-1"))
    return answers


@pytest.mark.parametrize(
    "name", ["a\r\nevil: 1", "a\x1b[31m", "x" * 129, "a b", "é", "\u202e", "<script>"]
)
def test_request_ids_cannot_forge_log_lines(name: str) -> None:
    assert not is_valid_request_id(name)
