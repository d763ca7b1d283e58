"""The client over real HTTP, against servers that misbehave; shapes are in test_errors."""

import asyncio
import gzip

import httpx
import pytest

from ingestion.coingecko.client import CoinGecko
from ingestion.coingecko.errors import Unreachable, UpstreamError
from ingestion.coingecko.types import CallStats
from simulator import Simulator
from tests.ingestion.talking import PING, client, http, serving, throttle

BOMB = gzip.compress(b" " * 40_000_000)


NASTY = [
    b"",
    b"SSH-2.0-OpenSSH_9.6\r\n",
    b"HTTP/1.1",
    b"HTTP/1.1 abc OK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{",
    b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
    b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000 + b"\r\n\r\n{}",
    b"HTTP/1.1 100 Continue\r\n\r\n" * 50,
    b"\xff\xfe\x00\x00" * 100,
    http(b"not gzip at all", "Content-Encoding: gzip"),
    http(gzip.compress(PING)[:-12], "Content-Encoding: gzip"),
    http(BOMB, "Content-Encoding: gzip"),
    http(gzip.compress(BOMB), "Content-Encoding: gzip, gzip"),
    http(b"x", "Content-Encoding: br"),
    http(PING[:-3]),
    http(b""),
    http(b"\xff\xfe\xfd"),
    http(b"<!DOCTYPE html><title>Just a moment...</title>", "Content-Type: text/html"),
    http(b"[" * 100_000),
    http(b"null"),
    http(b"[]"),
    http(b"", "Location: http://192.0.2.1/", status="302 Found"),
    http(b"", "Location: \xff://", status="301 Moved"),
    http(b"", status="204 No Content"),
    http(b"", status="999 What"),
    http(b"error code: 1015", "Retry-After: soon", status="429 Slow down"),
    http(b"<html>", "Set-Cookie: a=\x01; expires=never; domain=.", status="403 Forbidden"),
]


@pytest.mark.parametrize("reply", NASTY, ids=range(len(NASTY)))
async def test_upstream_can_answer_anything(reply: bytes) -> None:
    async with serving(reply) as (url, _), client(base_url=url, attempts=2) as upstream:
        with pytest.raises(UpstreamError) as caught:
            await upstream.ping()
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


async def test_a_damaged_answer_is_requested_again() -> None:
    good = http(gzip.compress(PING), "Content-Encoding: gzip", "Set-Cookie: a=b")
    async with serving(b"", http(PING[:9]), http(b"<html>"), good) as (url, heads):
        stats = CallStats()
        async with client(base_url=url, attempts=4) as upstream:
            await upstream.ping(stats=stats)
            await upstream.ping()
    assert (stats.attempts, stats.retries, stats.rate_limited) == (4, 3, 0)
    assert b"cookie" not in heads[-1].lower()


async def test_an_unreachable_upstream() -> None:
    async with serving(b"") as (url, _):
        pass
    async with client(base_url=url) as upstream:
        with pytest.raises(Unreachable, match="no connection"):
            await upstream.ping()


@pytest.mark.parametrize(("drip", "keep_open"), [(0.05, 0), (0, 30)])
async def test_an_answer_that_takes_too_long_is_none(drip: float, keep_open: float) -> None:
    reply = http(PING) if drip else b"HTTP/1.1 200 OK\r\n"
    async with (
        serving(reply, drip=drip, keep_open=keep_open) as (url, _),
        client(base_url=url, attempts=1, timeout=0.3) as upstream,
    ):
        # whole, the answer would come after all, or the connection end
        with pytest.raises(Unreachable, match="in time"):
            await upstream.ping()


async def test_cancelling_is_not_an_error_of_upstream() -> None:
    async with serving(b"", keep_open=5) as (url, _), client(base_url=url) as upstream:
        task = asyncio.create_task(upstream.ping())
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await upstream.ping()


async def test_connections_are_kept(simulator: Simulator) -> None:
    ports = set()

    class Spy(httpx.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            response = await super().handle_async_request(request)
            ports.add(response.extensions["network_stream"].get_extra_info("client_addr"))
            return response

    upstream = CoinGecko(throttle=throttle(), base_url=simulator.base_url, transport=Spy())
    async with upstream:
        for _ in range(5):
            await upstream.ping()
    assert len(ports) == 1
