"""What the client tries again, and how it gets on with the simulator."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import httpx
import pytest
from structlog.testing import capture_logs

from ingestion.coingecko.client import CoinGecko
from ingestion.coingecko.errors import (
    AccessRefused,
    BadAnswer,
    BadRequest,
    HistoryTooLong,
    NotFound,
    RateLimited,
    ServerFault,
    UpstreamError,
)
from ingestion.coingecko.types import CallStats
from ingestion.quota.throttle import Throttle
from simulator import Fault, Simulator, SimulatorOptions, run_simulator
from tests.ingestion.jumping import now, run
from tests.ingestion.talking import KEY, PING, client


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


def test_a_pause_holds_all_calls_and_each_attempt_takes_a_slot() -> None:
    arrivals: list[float] = []
    stats = CallStats()

    def reply(_: httpx.Request) -> httpx.Response:
        arrivals.append(now())
        if len(arrivals) == 1:
            return httpx.Response(429, headers={"Retry-After": "0.5"})
        return httpx.Response(200, content=PING)

    async def main() -> None:
        pace = Throttle(600, first_pause=60)
        async with CoinGecko(throttle=pace, transport=httpx.MockTransport(reply)) as upstream:
            assert upstream.throttle is pace
            await asyncio.gather(*(upstream.ping(stats=stats) for _ in range(3)))

    run(main())
    assert len(arrivals) == 4
    assert arrivals[1] - arrivals[0] >= 0.5
    assert all(later - sooner > 0.09 for sooner, later in pairwise(arrivals))
    assert stats.rate_limited == 1
    assert stats.paused_seconds == pytest.approx(0.5)


async def test_a_retry_is_one_line_in_the_log() -> None:
    with capture_logs() as logs:
        async with client(lambda _: httpx.Response(502, content=b"bad gateway")) as upstream:
            with pytest.raises(ServerFault):
                await upstream.ping()
    *retries, last = logs
    assert [line["caused_by"] for line in retries] == ["ServerFault('CoinGecko answered 502')"] * 2
    assert last["said"] == "bad gateway"


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


@pytest.mark.slow
async def test_the_simulators_rate_limit_only_slows_it_down() -> None:
    options = SimulatorOptions(requests_per_minute=6, limit_window=2)
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
