"""The simulated market: charts, quotes and coins, asked for over real HTTP."""

import hashlib
import subprocess
import sys
from itertools import pairwise
from statistics import median

import httpx
import pytest

from tests.simulator.asking import DAY, HOUR, NOW, ask_range, prices

MAJORS = {
    "bitcoin", "ethereum", "tether", "ripple", "binancecoin", "solana", "usd-coin", "dogecoin",
    "cardano", "tron", "chainlink",
}  # fmt: skip


QUOTE_ALL = {
    f"include_{what}": "true"
    for what in ("market_cap", "24hr_vol", "24hr_change", "last_updated_at")
}


@pytest.mark.processes
def test_equal_seeds_are_equal_markets_in_any_process(http: httpx.Client) -> None:
    query = f"/coins/solana/market_chart/range?vs_currency=jpy&from={NOW - 5 * DAY}&to={NOW}"
    script = f"""
import hashlib, httpx
from simulator import SimulatorOptions, run_simulator
for seed in (1, 2):
    with run_simulator(SimulatorOptions(seed=seed, clock=lambda: {NOW})) as simulator:
        print(hashlib.sha256(httpx.get(simulator.base_url + {query!r}).content).hexdigest())
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120
    )
    same, other = done.stdout.split()
    assert hashlib.sha256(http.get(query).content).hexdigest() == same != other
    assert done.stderr == ""


def test_overlapping_ranges_agree_and_prices_have_all_digits(http: httpx.Client) -> None:
    long = prices(http, NOW - 89 * DAY, NOW, "cardano", "eur")
    short = prices(http, NOW - 40 * DAY - 1234, NOW - 30 * DAY, "cardano", "eur")
    assert len(short) > 235
    assert all(long[at] == price for at, price in short.items())
    assert median(len(repr(price)) for price in short.values()) >= 17


@pytest.mark.parametrize(
    ("start", "end", "step", "count"),
    [
        pytest.param(NOW - DAY, NOW, 300, 289, id="a day ending now"),
        pytest.param(NOW - DAY - 1, NOW, HOUR, 25, id="a second more"),
        pytest.param(NOW - 3 * DAY, NOW - 2 * DAY, HOUR, 24, id="a day at another time"),
        pytest.param(NOW - 90 * DAY, NOW, HOUR, 2161, id="90 days"),
        pytest.param(NOW - 90 * DAY - 1, NOW, DAY, 91, id="a second more than 90 days"),
        pytest.param(NOW - 2 * DAY - HOUR, NOW - 2 * DAY, HOUR, 0, id="an hour of the past"),
        pytest.param(NOW + DAY, NOW + 9 * DAY, HOUR, 0, id="the future"),
    ],
)
def test_granularity(http: httpx.Client, start: float, end: float, step: int, count: int) -> None:
    times = [at / 1000 for at in prices(http, start, end)]
    assert len(times) == pytest.approx(count, rel=0.02, abs=2 if count else 0)
    if count:
        assert median(b - a for a, b in pairwise(times)) == pytest.approx(step, rel=0.1)
        assert start <= min(times)
        assert max(times) <= end
    if step == DAY:
        assert all(at % DAY == 0 for at in times[:-1])
    if end == NOW and count:
        # The "now" point: whole seconds, a little old, on no grid.
        assert 20 <= NOW - times[-1] <= 81
        assert times[-1] % 1 == 0
        assert times[-1] % 300 != 0


def test_hours_are_awkward_at_the_rates_of_real_life(http: httpx.Client) -> None:
    hours = empty = doubled = swapped = nulls = 0
    offsets: list[float] = []
    for coin in sorted(MAJORS):
        for currency in ("usd", "eur"):
            chart = ask_range(http, NOW - 89 * DAY, NOW - HOUR, coin, currency).json()
            times = [at / 1000 for at, _ in chart["prices"]]
            seen = {at // HOUR for at in times}
            span = int(max(seen) - min(seen)) + 1
            hours, empty = hours + span, empty + span - len(seen)
            doubled += len(times) - len(seen)
            swapped += sum(a > b for a, b in pairwise(times))
            nulls += sum(value is None for _, value in chart["market_caps"])
            offsets += [at % HOUR for at in times]
    assert 0.0008 < empty / hours < 0.0025
    assert 0.0005 < doubled / hours < 0.008
    assert 230 < median(offsets) < 310
    assert swapped > 0
    assert nulls > 0


def test_arrays_differ_in_length_now_and_then(http: httpx.Client) -> None:
    def missing(days: int) -> int:
        chart = ask_range(http, NOW - days * DAY, NOW - days * DAY + 3 * HOUR).json()
        return len(chart["prices"]) - len(chart["market_caps"])

    assert {missing(days) for days in range(1, 100)} == {0, 1}


def test_levels_are_plausible_and_currencies_cannot_be_derived(http: httpx.Client) -> None:
    rates = {}
    for coin in ("bitcoin", "usd-coin", "dogecoin", "tether"):
        params = {"ids": coin, "vs_currencies": "usd,eur", "precision": "full"}
        quote = http.get("/simple/price", params=params).json()[coin]
        rates[coin] = quote["eur"] / quote["usd"]
    low, high = min(rates.values()), max(rates.values())
    assert 0.8 < low < high < 1.05
    assert 0.0001 < high / low - 1 < 0.0025
    stable = list(prices(http, NOW - 89 * DAY, NOW, "usd-coin").values())
    assert 0.98 < min(stable) < max(stable) < 1.02
    moving = list(prices(http, NOW - 89 * DAY, NOW, "bitcoin").values())
    assert 1.05 < max(moving) / min(moving) < 5


def test_odd_coins(http: httpx.Client) -> None:
    listed = http.get("/coins/list").json()
    symbols = [coin["symbol"] for coin in listed]
    assert {coin["id"] for coin in listed} > MAJORS
    assert symbols.count("btc") == symbols.count("wren") == 2
    unranked = ask_range(http, NOW - 3 * DAY, NOW, "maple-hat", "eur").json()
    assert {cap for _, cap in unranked["market_caps"]} == {0.0}
    assert unranked["total_volumes"] == []
    fresh = prices(http, NOW - 30 * DAY, NOW, "fresh-mint")
    assert NOW - 7 * DAY - 1 <= min(fresh) / 1000 < NOW - 7 * DAY + 2 * HOUR


def test_a_coins_profile(http: httpx.Client) -> None:
    whole = http.get("/coins/ethereum").json()
    parts = ("localization", "tickers", "market_data", "community_data", "developer_data")
    short = http.get("/coins/ethereum", params=dict.fromkeys(parts, "false")).json()
    assert set(whole) - set(short) == set(parts)
    assert short["symbol"] == "eth"
    assert '<a href="https://ethereum.org/"' in short["description"]["en"]
    assert "\r\n" in short["description"]["en"]
    assert set(short["image"]) == {"thumb", "small", "large"}
    assert short["links"]["homepage"] == ["https://ethereum.org/", "", ""]
    assert http.get("/ping").json() == {"gecko_says": "(V3) To the Moon!"}


def test_quotes_agree_with_charts(http: httpx.Client) -> None:
    params = {"ids": "bitcoin,nosuch,tron", "vs_currencies": "usd,gbp,xxx", "precision": "full"}
    quotes = http.get("/simple/price", params=params | QUOTE_ALL).json()
    assert set(quotes) == {"bitcoin", "tron"}
    tron = quotes["tron"]
    assert set(tron) == {"last_updated_at"} | {
        f"{code}{rest}"
        for code in ("usd", "gbp")
        for rest in ("", "_market_cap", "_24h_vol", "_24h_change")
    }
    chart = ask_range(http, NOW - DAY, NOW, "tron", "gbp").json()
    at = tron["last_updated_at"] * 1000
    assert chart["prices"][-1] == [at, tron["gbp"]]
    assert dict(chart["total_volumes"])[at] == tron["gbp_24h_vol"]
    # The day before, between the two samples around the same second.
    around = list(prices(http, at / 1000 - DAY - 3 * HOUR, NOW, "tron", "gbp").items())
    before = min(around, key=lambda point: abs(point[0] - (at - DAY * 1000)))[1]
    assert tron["gbp_24h_change"] == pytest.approx((tron["gbp"] / before - 1) * 100, abs=2)


def test_a_space_in_ids_makes_the_rest_vanish(http: httpx.Client) -> None:
    answer = http.get("/simple/price?ids=bitcoin,%20ethereum&vs_currencies=usd")
    assert answer.status_code == 200
    assert set(answer.json()) == {"bitcoin"}


def test_dates_may_be_iso(http: httpx.Client) -> None:
    by_date = ask_range(http, "2025-12-01", "2025-12-11T00:00:00Z").json()
    assert by_date == ask_range(http, 1_764_547_200, 1_765_411_200).json()
