"""What the client asks, and with which key."""

import logging
import time
import traceback
from datetime import UTC, datetime, timedelta
from typing import get_args
from urllib.parse import parse_qs, urlsplit

import httpx
import orjson
import pytest
from structlog.testing import capture_logs

from ingestion.coingecko.errors import AccessRefused, NotFound, UpstreamError
from ingestion.coingecko.types import CallStats
from ingestion.coingecko.urls import ApiPlan
from tests.ingestion.talking import KEY, PING, client, http, serving


async def test_requests_carry_what_each_plan_needs() -> None:
    seen: list[httpx.Request] = []

    def reply(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, content=PING)

    for plan in get_args(ApiPlan):
        async with client(reply, plan=plan, api_key=f" {KEY}\n") as upstream:
            assert await upstream.ping() == "(V3) To the Moon!"
    keyless, demo, pro = seen
    assert keyless.url == demo.url == "https://api.coingecko.com/api/v3/ping"
    assert pro.url == "https://pro-api.coingecko.com/api/v3/ping"
    assert KEY not in keyless.headers.values()
    assert demo.headers["x-cg-demo-api-key"] == pro.headers["x-cg-pro-api-key"] == KEY
    assert demo.headers["user-agent"].startswith("coingraph/")
    assert demo.headers["accept-encoding"] == "gzip"


async def test_a_range_is_requested_in_seconds_without_an_interval() -> None:
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
    formatted = traceback.TracebackException(type(error), error, ours, capture_locals=True)
    # At DEBUG, httpcore logs the head of an answer as it came, but never that of a request.
    logged = [line for line in caplog.messages if not line.startswith("receive_response_headers")]
    assert KEY[:12] not in "".join([*formatted.format(), *logged, repr(logs), shown, repr(error)])
