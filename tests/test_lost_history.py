"""History that upstream withholds for a while: said as long as it is missing, and never lost.

One server, over HTTP; each coin is withheld in a way of its own.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.conftest import new_database
from tests.serving import PATIENCE, TOKEN, Client, in_thread, live_server, make_settings
from tests.withholding import (
    DAY_MS,
    Chart,
    ChartCall,
    Spoiler,
    Withholding,
    days_for_hours,
    empty,
    half_null,
    not_found,
    refused,
    withholding,
    without,
)

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
DAYS = 90
REFRESH = """
    mutation ($coin: ID!) { refreshPrices(input: {wait: true, coins: [$coin]}) { run {
      status failedCalls items { coin status reason error }
    } } }
"""
SHOWN = """
    query ($coin: ID!) {
      hours: prices(coin: $coin) { coverage { ...C } }
      days: prices(coin: $coin, granularity: DAY) { coverage { ...C } }
      refreshPlan(input: {coins: [$coin]}) { series { reason daily { from } } }
      seriesStatus(coins: [$coin]) { stale reason hoursMissing daysMissing }
    }
    fragment C on Coverage {
      expected present gaps { from to buckets askedSince askedTimes nextAsk upstream }
    }
"""


def of_hours(spoil: Spoiler) -> Spoiler:
    return lambda asked, chart: chart if asked.daily else spoil(asked, chart)


def of_days(spoil: Spoiler) -> Spoiler:
    return lambda asked, chart: spoil(asked, chart) if asked.daily else chart


def older(asked: ChartCall, chart: Chart) -> Chart:
    """Give nothing in answers that end days ago."""
    ends = max((at for at, _ in chart["prices"]), default=0)
    return chart if asked.end - ends > DAY_MS or asked.daily else empty(asked, chart)


def only_newest(asked: ChartCall, chart: Chart) -> Chart:
    """Give hours in answers that reach to now alone."""
    now = datetime.now(UTC).timestamp() * 1000
    return chart if asked.daily or asked.end > now - DAY_MS else empty(asked, chart)


@dataclass(frozen=True)
class Case:
    """One way to withhold, and what is missing of it."""

    spoil: Spoiler
    hours: bool = True
    days: bool = False
    status: str = "PARTIAL"


CASES = {
    "bitcoin": Case(empty, days=True, status="FAILED"),
    "ethereum": Case(of_hours(without(5, 0))),  # ends five days ago
    "tether": Case(of_hours(without(DAYS, 2))),  # begins two days ago
    "ripple": Case(of_hours(without(45, 40))),  # a gap of five days
    "solana": Case(of_hours(days_for_hours), status="FAILED"),
    "dogecoin": Case(of_days(refused), hours=False, days=True),
    "cardano": Case(of_days(half_null), hours=False, days=True),
    "tron": Case(only_newest),
    "chainlink": Case(refused, days=True, status="FAILED"),
    "binancecoin": Case(of_days(empty), hours=False, days=True),
    "usd-coin": Case(not_found, days=True, status="FAILED"),
}


@pytest.fixture(scope="module")
def upstream() -> Iterator[Withholding]:
    with withholding() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def url(postgres_url: str, template: str, upstream: Withholding) -> Iterator[str]:
    """A server whose first refresh was withheld as the cases say."""
    coins = dict.fromkeys(CASES)
    upstream.spoil = lambda asked, chart: CASES[asked.coin].spoil(asked, chart)
    with new_database(postgres_url, template) as database_url:
        settings = make_settings(
            database_url,
            upstream,  # type: ignore[arg-type] # it has an address, as a Simulator has
            coins=",".join(coins),
            currencies="usd",
            history_days=DAYS,
        )
        with in_thread(live_server(settings)) as live:
            yield live.url


@pytest.fixture
async def client(url: str) -> AsyncIterator[Client]:
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE) as http:
        yield Client(url, http)


async def refreshed(client: Client, coin: str) -> dict[str, Any]:
    """Refresh one coin, once the run of the server's start has ended."""
    async with asyncio.timeout(PATIENCE):
        while True:
            answer = (await client.post(REFRESH, token=TOKEN, coin=coin)).json()
            if "errors" not in answer:
                run: dict[str, Any] = answer["data"]["refreshPrices"]["run"]
                [run["item"]] = [each for each in run["items"] if each["coin"] == coin]
                return run
            assert answer["errors"][0]["extensions"]["code"] == "SERVICE_UNAVAILABLE", answer
            await asyncio.sleep(0.1)


@pytest.mark.slow
@pytest.mark.parametrize("coin", CASES)
async def test_what_is_withheld_is_missing_until_it_comes(
    client: Client, upstream: Withholding, coin: str
) -> None:
    case = CASES[coin]
    upstream.spoil = lambda asked, chart: CASES[asked.coin].spoil(asked, chart)
    for number in range(3):
        run = await refreshed(client, coin)
        assert run["item"]["error"]
        if number:  # the first one may be the run of the server's start, of all coins
            assert (run["status"], run["item"]["status"]) == (case.status, case.status)
    shown = await client.data(SHOWN, coin=coin)
    hours, days = shown["hours"]["coverage"], shown["days"]["coverage"]
    assert hours["expected"] in {DAYS * 24, DAYS * 24 + 1}
    assert days["expected"] in {364, 365, 366}
    # CoinGecko's own gaps, as the simulator has them, are few
    assert (hours["expected"] - hours["present"] > 24) == case.hours
    assert (days["expected"] - days["present"] > 4) == case.days
    [series], [status] = shown["refreshPlan"]["series"], shown["seriesStatus"]
    assert series["reason"] != "ROUTINE"
    assert (series["daily"] is not None) == case.days
    assert status["hoursMissing"] == hours["expected"] - hours["present"]
    assert abs(status["daysMissing"] - (days["expected"] - days["present"])) <= 1
    much = status["hoursMissing"] > DAYS * 2.4 or status["daysMissing"] > 36
    assert (status["reason"] is not None) == much or case.status == "FAILED"
    for gap in [*hours["gaps"], *days["gaps"]]:
        assert gap["upstream"] is False
        assert gap["nextAsk"] is None  # within the first hour, any refresh asks
        assert gap["askedTimes"] == 1  # however many answers there were meanwhile
        age = datetime.now(UTC) - datetime.fromisoformat(gap["askedSince"])
        assert timedelta(0) < age < HOUR
    upstream.spoil = lambda asked, chart: (
        chart if asked.coin == coin else CASES[asked.coin].spoil(asked, chart)
    )
    run = await refreshed(client, coin)
    assert (run["status"], run["item"]["error"]) == ("SUCCEEDED", None)
    await assert_whole(client, upstream, coin)
    shown = await client.data(SHOWN, coin=coin)
    assert shown["seriesStatus"][0]["reason"] is None
    assert shown["refreshPlan"]["series"][0]["daily"] is None


async def assert_whole(client: Client, upstream: Withholding, coin: str) -> None:
    """All hours and days that upstream has are there: it is asked past our client."""
    upstream.spoil = None
    now = datetime.now(UTC)
    first_hour = floor(now - DAYS * DAY) + HOUR
    hours = await upstreams(upstream, coin, first_hour, now - 45 * DAY)
    hours |= await upstreams(upstream, coin, now - 45 * DAY, now - 2 * HOUR)
    hours = {floor(at) for at in hours}
    days = await upstreams(upstream, coin, floor(now - 364 * DAY), now - DAY)
    assert len(hours) > 0.95 * 24 * DAYS
    assert len(days) > 360
    assert hours <= await kept(client, coin, "HOUR")
    assert {at.replace(hour=0) for at in map(floor, days)} <= await kept(client, coin, "DAY")


def floor(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


async def upstreams(
    upstream: Withholding, coin: str, start: datetime, end: datetime
) -> set[datetime]:
    """When upstream has prices in a range."""
    params = {"vs_currency": "usd", "from": str(start.timestamp()), "to": str(end.timestamp())}
    path = f"{upstream.base_url}/coins/{coin}/market_chart/range"
    async with httpx.AsyncClient(timeout=PATIENCE) as http:
        prices = (await http.get(path, params=params)).json()["prices"]
    times = [datetime.fromtimestamp(at / 1000, UTC) for at, price in prices if price is not None]
    return {at for at in times if at <= end}


async def kept(client: Client, coin: str, granularity: str) -> set[datetime]:
    query = """query ($coin: ID!, $of: Granularity!) {
      prices(coin: $coin, granularity: $of) { points { timestamp } } }"""
    found = await client.data(query, coin=coin, of=granularity)
    return {datetime.fromisoformat(each["timestamp"]) for each in found["prices"]["points"]}
