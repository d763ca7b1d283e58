"""The client over real HTTP, against servers that misbehave; shapes are in test_answers."""

import asyncio
import gzip
import logging
import time
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from urllib.parse import parse_qs, urlsplit

import httpx
import orjson
import pytest
import stamina
from structlog.testing import capture_logs

from ingestion.coingecko import CoinGecko, Plan
from ingestion.errors import (
    AccessRefused,
    BadAnswer,
    BadRequest,
    HistoryTooLong,
    NotFound,
    RateLimited,
    ServerFault,
    Unreachable,
    UpstreamError,
)
from ingestion.samples import CallStats
from ingestion.simulator import Fault, Simulator, SimulatorOptions, run_simulator
from ingestion.throttle import Throttle

KEY = "CG-0123456789abcdef"
PING = b'{"gecko_says":"(V3) To the Moon!"}'
Reply = Callable[[httpx.Request], httpx.Response]


@pytest.fixture(autouse=True)
def _no_backoff() -> Iterator[None]:
    with stamina.set_testing(True, attempts=100, cap=True):
        yield


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with run_simulator() as running:
        yield running


def throttle(*, first_pause: float = 0.01) -> Throttle:
    return Throttle(60_000, first_pause=first_pause, max_pause=0.05)


def client(
    reply: Reply | None = None,
    *,
    base_url: str | None = None,
    plan: Plan = "keyless",
    api_key: str | None = None,
    attempts: int = 3,
    timeout: float = 5.0,
) -> CoinGecko:
    return CoinGecko(
        throttle=throttle(),
        base_url=base_url,
        plan=plan,
        api_key=api_key,
        attempts=attempts,
        timeout=timeout,
        transport=httpx.MockTransport(reply) if reply else None,
    )


def http(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


@asynccontextmanager
async def serving(
    *replies: bytes, keep_open: float = 0.0, drip: float = 0.0
) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Answers each connection with the next of `replies` (the last one again and again)."""
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        reply = replies[min(len(heads), len(replies)) - 1]
        try:
            for piece in [reply[i : i + 1] for i in range(len(reply))] if drip else [reply]:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(drip)
            await asyncio.sleep(keep_open)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/api/v3", heads


# What it asks


async def test_requests_carry_what_each_plan_needs() -> None:
    seen: list[httpx.Request] = []

    def reply(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, content=PING)

    plans: list[Plan] = ["keyless", "demo", "pro"]
    for plan in plans:
        async with client(reply, plan=plan, api_key=f" {KEY}\n") as upstream:
            assert await upstream.ping() == "(V3) To the Moon!"
    keyless, demo, pro = seen
    assert keyless.url == demo.url == "https://api.coingecko.com/api/v3/ping"
    assert pro.url == "https://pro-api.coingecko.com/api/v3/ping"
    assert KEY not in keyless.headers.values()
    assert demo.headers["x-cg-demo-api-key"] == pro.headers["x-cg-pro-api-key"] == KEY
    assert demo.headers["user-agent"].startswith("coingraph/")
    assert demo.headers["accept-encoding"] == "gzip"


async def test_a_range_is_asked_for_in_seconds_without_an_interval() -> None:
    seen: list[httpx.Request] = []

    def reply(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"prices": [[int(time.time() * 1000), 1.5]]})

    start = datetime(2026, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC)
    async with client(reply, base_url="http://x.test/api/v3/") as upstream:
        chart = await upstream.market_chart_range(
            "bitcoin", "usd", start, start + timedelta(days=2)
        )
        with pytest.raises(ValueError, match="offset"):
            await upstream.market_chart_range("bitcoin", "usd", start.replace(tzinfo=None), start)
    assert chart.prices.values.tolist() == [1.5]
    assert seen[0].url.path == "/api/v3/coins/bitcoin/market_chart/range"
    assert dict(seen[0].url.params) == {
        "vs_currency": "usd",
        "from": "1767225600",
        "to": "1767398401",
        "precision": "full",
    }


@pytest.mark.parametrize("coin_id", ["../x", "a/b?c=d#e", "%2e%2e", "a b", "ü", "\ud800", "a\x00b"])
async def test_a_coin_id_cannot_leave_its_segment(coin_id: str) -> None:
    reply = http(b'{"error":"coin not found"}', status="404 No")
    async with serving(reply) as (url, heads), client(base_url=url) as upstream:
        with pytest.raises(NotFound):
            await upstream.coin(coin_id)
    target = heads[0].split(b" ")[1].decode()
    path, _, query = target.partition("?")
    assert path.startswith("/api/v3/coins/")
    assert path.count("/") == 4
    assert parse_qs(query)["localization"] == ["false"]


@pytest.mark.parametrize("coin_id", ["", ".", "..", " ", "x" * 201])
async def test_what_can_be_no_coin_id_costs_no_call(coin_id: str) -> None:
    stats = CallStats()
    async with client(lambda _: httpx.Response(500)) as upstream:
        with pytest.raises(NotFound):
            await upstream.coin(coin_id, stats=stats)
    assert stats.attempts == 0


async def test_prices_are_one_call_for_250_coins_and_what_is_missing_is_named() -> None:
    asked: list[list[str]] = []

    def reply(request: httpx.Request) -> httpx.Response:
        query = parse_qs(urlsplit(str(request.url)).query)
        assert query["include_last_updated_at"] == query["include_24hr_vol"] == ["true"]
        asked.append(query["ids"][0].split(","))
        entry = {"usd": 1.0, "eur": 2.0, "last_updated_at": 1767225600}
        return httpx.Response(200, json={coin: entry for coin in asked[-1] if coin != "c7"})

    coins = [f"c{number}" for number in range(300)]
    async with client(reply) as upstream:
        quotes = await upstream.simple_price(
            [*coins, "c0", "a b", "a,b", ""], ["usd", "eur", "usd"]
        )
        assert [len(ids) for ids in asked] == [250, 50]
        assert len(quotes.found) == 299 * 2
        wrong = ["c7", "a b", "a,b", ""]
        assert quotes.missing == [(coin, code) for coin in wrong for code in ("usd", "eur")]
        asked.clear()
        await upstream.simple_price([f"{'x' * 190}{number}" for number in range(100)], ["usd"])
        assert [len(ids) for ids in asked] == [31, 31, 31, 7]
        asked.clear()
        assert (await upstream.simple_price([], ["usd"])).missing == []
        assert (await upstream.simple_price(["a"], [])).missing == []
        assert (await upstream.simple_price(["a"], ["a b"])).missing == [("a", "a b")]
        assert asked == []


# What it is answered

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


async def test_a_damaged_answer_is_asked_for_again() -> None:
    good = http(gzip.compress(PING), "Content-Encoding: gzip", "Set-Cookie: a=b")
    async with serving(b"", http(PING[:9]), http(b"<html>"), good) as (url, heads):
        stats = CallStats()
        async with client(base_url=url, attempts=4) as upstream:
            await upstream.ping(stats=stats)
            await upstream.ping()
    assert (stats.attempts, stats.retries, stats.rate_limited) == (4, 3, 0)
    assert b"cookie" not in heads[-1].lower()


async def test_nobody_there() -> None:
    async with serving(b"") as (url, _):
        pass
    async with client(base_url=url) as upstream:
        with pytest.raises(Unreachable, match="ConnectError"):
            await upstream.ping()


@pytest.mark.parametrize(("drip", "keep_open"), [(0.02, 0), (0, 5)])
async def test_an_answer_that_takes_too_long_is_none(drip: float, keep_open: float) -> None:
    reply = http(PING) if drip else b"HTTP/1.1 200 OK\r\n"
    async with (
        serving(reply, drip=drip, keep_open=keep_open) as (url, _),
        client(base_url=url, attempts=1, timeout=0.3) as upstream,
    ):
        start = time.monotonic()
        with pytest.raises(Unreachable, match="in time"):
            await upstream.ping()
        assert time.monotonic() - start < 1


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


@pytest.mark.parametrize(
    ("status", "body", "kind", "attempts"),
    [
        (500, b"", ServerFault, 3),
        (403, b"<html>", ServerFault, 3),
        (429, b"", RateLimited, 5),
        (200, b"Throttled", RateLimited, 5),
        (401, b"", AccessRefused, 1),
        (400, b'{"status":{"error_code":10010,"error_message":"?"}}', AccessRefused, 1),
        (401, b'{"error":{"status":{"error_code":10012}}}', HistoryTooLong, 1),
        (404, b"", NotFound, 1),
        (422, b"", BadRequest, 1),
        (200, b"{}", BadAnswer, 1),
    ],
)
async def test_only_what_may_pass_is_tried_again(
    status: int, body: bytes, kind: type[UpstreamError], attempts: int
) -> None:
    stats = CallStats()
    async with client(lambda _: httpx.Response(status, content=body)) as upstream:
        with pytest.raises(kind):
            await upstream.ping(stats=stats)
    assert (stats.attempts, stats.retries) == (attempts, attempts - 1)
    assert stats.rate_limited == (attempts if kind is RateLimited else 0)


async def test_a_pause_holds_everybody_and_each_attempt_takes_a_slot() -> None:
    arrivals: list[float] = []

    def reply(_: httpx.Request) -> httpx.Response:
        arrivals.append(time.monotonic())
        if len(arrivals) == 1:
            return httpx.Response(429, headers={"Retry-After": "0.5"})
        return httpx.Response(200, content=PING)

    pace, stats = Throttle(600, first_pause=60), CallStats()
    async with CoinGecko(throttle=pace, transport=httpx.MockTransport(reply)) as upstream:
        assert upstream.throttle is pace
        await asyncio.gather(*(upstream.ping(stats=stats) for _ in range(3)))
    assert len(arrivals) == 4
    assert arrivals[1] - arrivals[0] >= 0.5
    assert all(later - sooner > 0.09 for sooner, later in pairwise(arrivals))
    assert stats.rate_limited == 1
    assert stats.paused_seconds == pytest.approx(0.5)


# The key


@pytest.mark.parametrize("key", ["a\nb", "schlüssel", "two words", "a\x00b"])
def test_a_key_that_cannot_be_sent_is_refused_at_once(key: str) -> None:
    with pytest.raises(AccessRefused, match="COINGECKO_API_KEY") as caught:
        client(plan="demo", api_key=key)
    assert key not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["api.coingecko.com", "ftp://x/y", "http://", "http://[::1", "http://x/?a=b"]
)
def test_an_address_that_cannot_be_asked_is_refused_at_once(url: str) -> None:
    with pytest.raises(AccessRefused, match="COINGECKO_BASE_URL"):
        client(base_url=url)


@pytest.mark.parametrize(
    "reply",
    [
        http(orjson.dumps({"error": "x" * 190 + KEY}), status="401 No"),
        http(orjson.dumps({"status": {"error_code": 10002, "error_message": KEY}})),
        http(KEY.encode()),
        http(b"", f"Content-Encoding: {KEY}"),
        b"HTTP/1.1 200 OK\r\n" + KEY.encode() + b"\r\n\r\n",
    ],
    ids=range(5),
)
async def test_the_key_is_nowhere_to_be_seen(
    reply: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving(reply) as (url, heads):
        with capture_logs() as logs:
            async with client(base_url=url, plan="demo", api_key=KEY) as upstream:
                with pytest.raises(UpstreamError) as caught:
                    await upstream.ping()
                shown = repr(upstream)
    assert f"x-cg-demo-api-key: {KEY}".encode() in heads[0]
    error = caught.value
    assert error.__traceback__ is not None
    ours = error.__traceback__.tb_next  # without this test's own variables
    told = traceback.TracebackException(type(error), error, ours, capture_locals=True)
    # At DEBUG, httpcore logs the head of an answer as it came, but never that of a request.
    logged = [line for line in caplog.messages if not line.startswith("receive_response_headers")]
    assert KEY[:12] not in "".join([*told.format(), *logged, repr(logs), shown, repr(error)])


async def test_a_retry_is_one_line_in_the_log() -> None:
    with capture_logs() as logs:
        async with client(lambda _: httpx.Response(502, content=b"bad gateway")) as upstream:
            with pytest.raises(ServerFault):
                await upstream.ping()
    assert [line["caused_by"] for line in logs] == [
        "ServerFault('CoinGecko answered 502 (bad gateway)')"
    ] * 2


# Against the simulator


async def test_every_endpoint_of_the_simulator() -> None:
    now = datetime.now(UTC)
    options = SimulatorOptions(api_key=KEY, plan="demo")
    with run_simulator(options) as simulator:
        async with client(base_url=simulator.base_url, plan="demo", api_key=KEY) as upstream:
            await upstream.ping()
            assert "bitcoin" in {coin.id for coin in await upstream.coin_list()}
            profile = await upstream.coin("bitcoin")
            assert (profile.symbol, profile.name) == ("btc", "Bitcoin")
            assert profile.description
            assert "<" not in profile.description
            quotes = await upstream.simple_price(["bitcoin", "nope"], ["usd", "eur"])
            assert len(quotes.found) == 2
            assert quotes.missing == [("nope", "usd"), ("nope", "eur")]
            chart = await upstream.market_chart_range(
                "bitcoin", "usd", now - timedelta(days=89), now
            )
            assert 2100 < len(chart.prices.times) < 2200
            with pytest.raises(NotFound):
                await upstream.coin("nope")
            with pytest.raises(HistoryTooLong, match="HISTORY_DAYS"):
                await upstream.market_chart_range("bitcoin", "usd", now - timedelta(days=400), now)
        async with client(base_url=simulator.base_url) as stranger:
            with pytest.raises(AccessRefused, match="COINGECKO_API_KEY"):
                await stranger.ping()


async def test_the_simulators_rate_limit_only_slows_it_down() -> None:
    options = SimulatorOptions(requests_per_minute=6, limit_window=0.5)
    stats = CallStats()
    with run_simulator(options) as simulator:
        async with client(base_url=simulator.base_url, attempts=6) as upstream:
            said = await asyncio.gather(*(upstream.ping(stats=stats) for _ in range(14)))
    assert len(said) == 14
    assert 1 <= stats.rate_limited <= 8
    assert stats.paused_seconds >= 0.5


@pytest.mark.parametrize(
    "fault",
    [
        Fault("error500"),
        Fault("error500", nested=True),
        Fault("html"),
        Fault("truncated"),
        Fault("reset"),
        Fault("rate_limited", seconds=1.0),
        Fault("throttled_text"),
        Fault("forbidden"),
    ],
    ids=lambda fault: fault.kind,
)
async def test_each_fault_of_the_simulator_passes(simulator: Simulator, fault: Fault) -> None:
    now = datetime.now(UTC)
    stats = CallStats()
    simulator.add_fault(fault)
    async with client(base_url=simulator.base_url) as upstream:
        chart = await upstream.market_chart_range(
            "bitcoin", "usd", now - timedelta(days=2), now, stats=stats
        )
    assert len(chart.prices.times) > 40
    assert stats.retries == 1
