"""An upstream that sends as much as it can: nothing of it takes much memory, and all of it ends."""

import asyncio
import gzip
import json
import threading
import time
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ingestion.coingecko import answer_bounds, charts
from ingestion.coingecko.client import CoinGecko
from ingestion.coingecko.errors import RateLimited, ServerFault, UpstreamError
from ingestion.coingecko.types import Chart
from tests.ingestion.running import Deployment
from tests.ingestion.scripted import scripted
from tests.ingestion.talking import client, http, serving

MOST_MEMORY = 120_000_000  # of Python's, at the same time; the attacks took 300 MB and more
MOST_SENT = 24_000_000  # bytes, with what the sockets hold; endless ones went on for 30 s
NOW = datetime.now(UTC)
GZIPPED = "Content-Encoding: gzip"

Call = Callable[[CoinGecko], Coroutine[Any, Any, Any]]
CALLS: dict[str, Call] = {
    "ping": lambda upstream: upstream.ping(),
    "list": lambda upstream: upstream.coin_list(),
    "coin": lambda upstream: upstream.coin("bitcoin"),
    "price": lambda upstream: upstream.simple_price(["bitcoin"], ["usd"]),
    "chart": lambda upstream: upstream.market_chart_range(
        "bitcoin", "usd", NOW - timedelta(days=90), NOW
    ),
}
BOUNDS = {
    "ping": answer_bounds.PING,
    "list": answer_bounds.COIN_LIST,
    "coin": answer_bounds.PROFILE,
    "price": answer_bounds.PRICES,
    "chart": answer_bounds.CHART,
}
each_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


def gzipped(text: bytes) -> bytes:
    return gzip.compress(text, compresslevel=6)


def many(start: bytes, part: bytes, end: bytes, size: int = 19_000_000) -> bytes:
    """As many parts as fit, below the 20 MB that once were the only bound."""
    return start + part * (size // len(part)) + end


SMALL_VALUES: dict[str, bytes] = {
    "empty lists": many(b'{"prices":[[]', b",[]", b"]}"),
    "pairs": many(b'{"prices":[[1,2]', b",[1,2]", b"]}"),
    "bare lists": many(b"[[]", b",[]", b"]"),
    "objects": many(b'[{"id":"a"}', b',{"id":"a"}', b"]"),
    "empty objects": many(b'{"a":[{}', b",{}", b"]}"),
    "numbers": many(b'{"prices":[0.1', b",0.1", b"]}"),
    "texts": many(b'["aaaaaaaaaaaaaaaaaaaaaa"', b',"\xc3\xa9"', b"]"),
    "members": many(b'{"gecko_says":"x"', b',"a":0.5', b"}"),
    "objects in a coin": many(b'{"id":"bitcoin","links":{"homepage":[{}', b",{}", b"]}}"),
    "prices of many": many(b'{"bitcoin":{"usd":1}', b',"a":{"b":{}}', b"}"),
    "broken at the end": many(b'{"prices":[[]', b",[]", b"]"),
    "a NaN at the end": many(b'{"prices":[[]', b",[]", b",NaN]}"),
    "a long text": many(b'{"gecko_says":"', b" ", b'"}'),
    "a wide character": many(b'{"gecko_says":"', b" ", "🚀".encode() + b'"}'),
    "white space": many(b'{"gecko_says":', b" ", b'"x"}'),
    "deep": many(b"", b"[", b""),
    "deep objects": many(b"", b'{"a":', b""),
    "a long integer": many(b'{"prices":[[1,', b"9", b"]]}"),
    "a long fraction": many(b'{"prices":[[1,0.', b"9", b"]]}"),
    "a long exponent": many(b'{"prices":[[1,1e', b"9", b"]]}"),
    "UTF-16": many(b'{"prices":[[]', b",[]", b"]}", 9_000_000).decode().encode("utf-16"),
}


@contextmanager
def little_memory() -> Iterator[None]:
    tracemalloc.start(1)
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY
    finally:
        tracemalloc.stop()


@dataclass
class Sent:
    """How much an endless answer has come to."""

    count: int = 0


@asynccontextmanager
async def endless(start: bytes, part: bytes) -> AsyncIterator[tuple[str, Sent]]:
    """A server that answers with `start`, and then with `part` again and again."""
    sent = Sent()
    block = part * max(1, 60_000 // len(part))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(start)
            while sent.count < 10 * MOST_SENT:
                writer.write(block)
                await writer.drain()
                sent.count += len(block)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", sent


@pytest.mark.slow
@pytest.mark.parametrize("text", SMALL_VALUES.values(), ids=SMALL_VALUES)
async def test_gzip_bombs_are_refused(text: bytes) -> None:
    reply = http(gzipped(text), GZIPPED)
    assert len(reply) < 100_000
    for call in CALLS.values():
        async with serving(reply) as (url, _), client(base_url=url, attempts=1) as upstream:
            with little_memory(), pytest.raises(UpstreamError) as caught:
                await call(upstream)
        assert len(str(caught.value)) < 300


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
async def test_small_values_within_the_bound_of_bytes(name: str) -> None:
    size = int(BOUNDS[name].size * 0.99)
    for start, part, end in (
        (b'{"prices":[0', b",[]", b"]}"),
        (b'{"prices":[0', b",0.1", b"]}"),
        (b'[""', b',""', b"]"),
        (b'{"":0', b',"a":{}', b"}"),
    ):
        reply = http(gzipped(many(start, part, end, size)), GZIPPED)
        async with serving(reply) as (url, _), client(base_url=url, attempts=1) as upstream:
            with little_memory(), pytest.raises(UpstreamError, match=r"lists and objects|values"):
                await CALLS[name](upstream)


@each_call
@pytest.mark.parametrize("encoding", ["br", "zstd", "deflate", "gzip, gzip", "gzip,br", "x-gzip"])
async def test_other_and_nested_encodings_are_not_unpacked(call: Call, encoding: str) -> None:
    bomb = gzipped(gzipped(b" " * 30_000_000)) if "," in encoding else zlib.compress(b" " * 10**7)
    reply = http(bomb, f"Content-Encoding: {encoding}")
    async with serving(reply) as (url, _), client(base_url=url, attempts=1) as upstream:
        with little_memory(), pytest.raises(ServerFault, match="content encoding"):
            await call(upstream)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
NOTHING_STORED = b"\x00\x00\x00\xff\xff"  # a block of deflate that unpacks to nothing
ENDLESS: dict[str, tuple[bytes, bytes]] = {
    "white space": (CHUNKED + b"\r\n", b"2000\r\n" + b" " * 0x2000 + b"\r\n"),
    "tiny chunks": (CHUNKED + b"\r\n", b"1\r\n \r\n"),
    "extensions of chunks": (CHUNKED + b"\r\n1", b";a=b"),
    "trailers": (CHUNKED + b"\r\n2\r\n{}\r\n0\r\n", b"a: b\r\n"),
    "no length": (b"HTTP/1.1 200 OK\r\n\r\n", b"[" * 1000),
    "a length": (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", b"[]," * 1000),
    "gzip of nothing": (
        CHUNKED + b"Content-Encoding: gzip\r\n\r\na\r\n\x1f\x8b\x08\0\0\0\0\0\0\xff\r\n",
        b"%x\r\n" % (100 * len(NOTHING_STORED)) + 100 * NOTHING_STORED + b"\r\n",
    ),
    "a failure": (b"HTTP/1.1 500 No\r\n\r\n", b"<p>" * 1000),
    "a failure in chunks": (CHUNKED.replace(b"200", b"503") + b"\r\n", b"1\r\n \r\n"),
    "provisional answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "early hints": (b"", b"HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\n"),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"a: b\r\n"),
    "a header": (b"HTTP/1.1 200 OK\r\na: ", b"b"),
    "a status line": (b"HTTP/1.1 200 ", b"OK"),
    "empty lines": (b"", b"\r\n"),
}


@pytest.mark.parametrize(("start", "part"), ENDLESS.values(), ids=ENDLESS)
async def test_an_endless_answer_is_cut_off(start: bytes, part: bytes) -> None:
    async with endless(start, part) as (url, sent), client(base_url=url, attempts=1) as upstream:
        with little_memory(), pytest.raises(UpstreamError) as caught:
            await upstream.coin_list()
        assert "in time" not in str(caught.value)
    assert sent.count < MOST_SENT


@pytest.mark.parametrize("size", [9_000, 90_000])
async def test_many_headers_are_no_answer_and_some_are(size: int) -> None:
    lines = [f"a{number}: {number}" for number in range(size // 15)]
    reply = http(b'{"gecko_says":"x"}', *lines)
    async with serving(reply) as (url, _), client(base_url=url, attempts=1) as upstream:
        if size < 32_000:
            assert await upstream.ping() == "x"
            return
        with pytest.raises(UpstreamError, match="no whole HTTP answer"):
            await upstream.ping()


async def test_large_errors_are_what_their_status_says() -> None:
    page = b"<title>Slow down</title>" + b"<p>" * 1_000_000
    for body, headers in ((page, []), (gzipped(page), [GZIPPED]), (b"no gzip", [GZIPPED])):
        reply = http(body, *headers, status="429 Too Many")
        async with serving(reply) as (url, _), client(base_url=url, attempts=1) as upstream:
            with little_memory(), pytest.raises(RateLimited):
                await upstream.ping()


def pairs(count: int, step: timedelta) -> list[list[float]]:
    """Points of a chart up to now, with as many digits as upstream's have."""
    last = int(NOW.timestamp() * 1000)
    back = int(step.total_seconds() * 1000)
    return [
        [last - back * place, 1381651251183.1436 / (place + 1)] for place in reversed(range(count))
    ]


def chart_of(count: int, step: timedelta) -> bytes:
    points = pairs(count, step)
    return json.dumps({"prices": points, "market_caps": points, "total_volumes": points}).encode()


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(
    ("count", "step"),
    [(366, timedelta(days=1)), (5_000, timedelta(days=1)), (8_761, timedelta(hours=1))],
)
async def test_a_long_chart_is_read_as_it_is(count: int, step: timedelta, packed: bool) -> None:
    text = chart_of(count, step)
    reply = http(gzipped(text), GZIPPED) if packed else http(text)
    async with serving(reply) as (url, _), client(base_url=url) as upstream:
        found = await upstream.market_chart_range("bitcoin", "usd", NOW - count * step, NOW)
    expected = charts.chart(json.loads(text), time.time())
    for name in ("prices", "market_caps", "volumes"):
        mine, theirs = getattr(found, name), getattr(expected, name)
        assert mine.times.tolist() == theirs.times.tolist()
        assert mine.values.tolist() == theirs.values.tolist()
    assert len(found.prices.times) == count
    assert found.dropped == expected.dropped


@pytest.mark.slow
async def test_the_largest_true_answers_are_read() -> None:
    coins = [
        {"id": f"wrapped-liquid-staked-coin-{number}", "symbol": f"w{number}",
         "name": f"Wrapped Liquid Staked Coin {number}",
         "platforms": {"ethereum": f"0x{number:040x}", "binance-smart-chain": f"0x{number:040x}"}}
        for number in range(20_000)
    ]  # fmt: skip
    codes = [f"c{number:02}" for number in range(63)]
    names = [f"coin-{number}" for number in range(250)]
    quote = {"last_updated_at": int(time.time())} | {
        f"{code}{part}": 1381651251183.1436
        for code in codes
        for part in ("", "_market_cap", "_24h_vol", "_24h_change")
    }
    described = {"id": "bitcoin", "symbol": "btc", "description": {"en": "text, " * 20_000}}
    cases: list[tuple[object, Call, int | None]] = [
        (coins, CALLS["list"], len(coins)),
        (described, CALLS["coin"], None),
        (dict.fromkeys(names, quote), lambda each: each.simple_price(names, codes), 250 * 63),
    ]
    for body, call, count in cases:
        text = json.dumps(body).encode()
        for reply in (http(text), http(gzipped(text), GZIPPED)):
            async with serving(reply) as (url, _), client(base_url=url) as upstream:
                found = await call(upstream)
            if count is not None:
                assert len(found.found if hasattr(found, "found") else found) == count


async def test_answers_are_decoded_off_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[threading.Thread] = []

    def chart(answer: object, now: float) -> Chart:
        threads.append(threading.current_thread())
        return charts_chart(answer, now)

    charts_chart = charts.chart
    monkeypatch.setattr(charts, "chart", chart)
    for reply in (
        http(chart_of(2_161, timedelta(hours=1))),
        http(gzipped(chart_of(9, timedelta(hours=1))), GZIPPED),
    ):
        async with serving(reply) as (url, _), client(base_url=url) as upstream:
            await CALLS["chart"](upstream)
    assert len(threads) == 2
    assert threading.current_thread() not in threads


@pytest.mark.slow
async def test_prices_that_are_there_stay(deployment: Deployment) -> None:
    async with scripted() as upstream:
        refresher = await deployment.process(
            ["good", "hostile"], ["usd"], base_url=upstream.url, history_days=3
        )
        assert (await deployment.refresh(refresher)).status == "SUCCEEDED"
        before = {name: await deployment.hours(name) for name in ("good/usd", "hostile/usd")}
        bomb = http(gzipped(SMALL_VALUES["empty lists"]), GZIPPED)
        upstream.refuse = lambda _kind, target: bomb if "/hostile/market_chart" in target else None
        ended = await deployment.refresh(refresher, rebuild=True)
    assert ended.status == "PARTIAL"
    assert set(ended.failed) == {"hostile/usd"}
    assert "larger than" in ended.items["hostile/usd"]["error"]
    for name, hours in before.items():
        assert len(hours) > 70
        found = await deployment.hours(name)
        assert {at: row for at, row in found.items() if at in hours} == hours
