"""The simulator, asked over real HTTP. Time stands still at NOW unless a test says otherwise."""

import asyncio
import hashlib
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from email.utils import parsedate_to_datetime
from itertools import pairwise
from statistics import median
from typing import Any

import httpx
import pytest

from ingestion.simulator import Fault, Simulator, SimulatorOptions, run_simulator
from ingestion.simulator.options import Plan, RetryAfterForm

NOW = 1_767_268_000.25  # 2026-01-01 11:46:40 UTC
HOUR, DAY = 3_600, 86_400
OPTIONS = SimulatorOptions(clock=lambda: NOW)
MAJORS = {
    "bitcoin", "ethereum", "tether", "ripple", "binancecoin", "solana", "usd-coin", "dogecoin",
    "cardano", "tron", "chainlink",
}  # fmt: skip
QUOTE_ALL = {
    f"include_{what}": "true"
    for what in ("market_cap", "24hr_vol", "24hr_change", "last_updated_at")
}


@pytest.fixture(scope="module")
def running() -> Iterator[Simulator]:
    with run_simulator(OPTIONS) as simulator:
        yield simulator


@pytest.fixture
def simulator(running: Simulator) -> Iterator[Simulator]:
    yield running
    running.clear_faults()


@pytest.fixture
def http(simulator: Simulator) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=simulator.base_url) as client:
        yield client


def ask_range(
    http: httpx.Client,
    start: float | str,
    end: float | str,
    coin: str = "bitcoin",
    currency: str = "usd",
) -> httpx.Response:
    params = {"vs_currency": currency, "from": str(start), "to": str(end), "precision": "full"}
    return http.get(f"/coins/{coin}/market_chart/range", params=params)


def prices(
    http: httpx.Client, start: float, end: float, coin: str = "bitcoin", currency: str = "usd"
) -> dict[int, float]:
    """Prices by milliseconds, in the order sent."""
    answer = ask_range(http, start, end, coin, currency)
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["prices"])


def test_equal_seeds_are_equal_markets_in_any_process(http: httpx.Client) -> None:
    query = f"/coins/solana/market_chart/range?vs_currency=jpy&from={NOW - 5 * DAY}&to={NOW}"
    script = f"""
import hashlib, httpx
from ingestion.simulator import SimulatorOptions, run_simulator
for seed in (1, 2):
    with run_simulator(SimulatorOptions(seed=seed, clock=lambda: {NOW})) as simulator:
        print(hashlib.sha256(httpx.get(simulator.base_url + {query!r}).content).hexdigest())
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30
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


RANGE = "/coins/bitcoin/market_chart/range"


@pytest.mark.parametrize(
    ("target", "status", "body"),
    [
        ("/coins/nosuch", 404, {"error": "coin not found"}),
        (f"{RANGE}?from=1&to=2", 422, {"error": "Missing parameter vs_currency"}),
        (f"{RANGE}?vs_currency=usd&to=2", 422, {"error": "Missing parameter from"}),
        (f"{RANGE}?vs_currency=usd&from=x&to=2", 422, {"error": "Invalid date parameter"}),
        (f"{RANGE}?vs_currency=xxx&from=1&to=2", 422, {"error": "invalid vs_currency"}),
        ("/simple/price?vs_currencies=usd", 422, {"error": "Missing parameter ids"}),
        ("/simple/price?ids=tron", 422, {"error": "Missing parameter vs_currencies"}),
        (f"{RANGE}?vs_currency=usd&from={NOW - 366 * DAY}&to={NOW}", 401, 10012),
        (f"{RANGE}?vs_currency=usd&from={NOW - DAY}&to={NOW}&interval=hourly", 401, 10005),
        ("/key", 401, 10005),
    ],
)
def test_refusals(http: httpx.Client, target: str, status: int, body: dict[str, str] | int) -> None:
    answer = http.get(target)
    assert answer.status_code == status
    content = answer.json()
    if isinstance(body, int):
        assert content.get("error", content)["status"]["error_code"] == body
    else:
        assert content == body


def test_dates_may_be_iso(http: httpx.Client) -> None:
    by_date = ask_range(http, "2025-12-01", "2025-12-11T00:00:00Z").json()
    assert by_date == ask_range(http, 1_764_547_200, 1_765_411_200).json()


DEMO, PRO = {"x-cg-demo-api-key": "k"}, {"x-cg-pro-api-key": "k"}


@pytest.mark.parametrize(
    ("plan", "headers", "status", "code"),
    [
        ("demo", {}, 401, 10002),
        ("demo", {"x-cg-demo-api-key": "wrong"}, 401, 10002),
        ("demo", PRO, 400, 10010),
        ("pro", DEMO, 400, 10011),
        ("pro", PRO, 200, None),
        ("demo", DEMO, 200, None),
    ],
)
def test_keys(plan: Plan, headers: dict[str, str], status: int, code: int | None) -> None:
    with run_simulator(replace(OPTIONS, plan=plan, api_key="k")) as simulator:
        answer = httpx.get(simulator.base_url + "/ping", headers=headers)
        assert answer.status_code == status
        assert answer.json().get("status", {}).get("error_code") == code
        assert simulator.requests[0].has_key == bool(headers)
        if plan == "pro" and code is None:
            limits = httpx.get(simulator.base_url + "/key", headers=headers).json()
            assert limits["rate_limit_request_per_minute"] == 500


def test_without_a_user_agent_the_cdn_refuses(simulator: Simulator) -> None:
    answer = httpx.get(simulator.base_url + "/ping", headers={"user-agent": ""})
    assert answer.status_code == 403
    assert answer.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize("form", ["seconds", "date", "none"])
def test_the_rate_limit_slides_and_says_how_long(form: RetryAfterForm) -> None:
    options = replace(OPTIONS, requests_per_minute=3, limit_window=0.4, retry_after=form)
    with run_simulator(options) as simulator, httpx.Client(base_url=simulator.base_url) as http:
        # What fails counts too.
        assert [http.get(path).status_code for path in ("/ping", "/nosuch", "/ping", "/ping")] == [
            200, 404, 200, 429,
        ]  # fmt: skip
        refused = http.get("/ping")
        assert refused.json()["status"]["error_code"] == 429
        retry_after = refused.headers.get("retry-after")
        if form == "seconds":
            assert retry_after == "1"
        elif form == "date":
            assert 0 < parsedate_to_datetime(retry_after).timestamp() - time.time() < 2.5
        else:
            assert retry_after is None
        time.sleep(0.45)
        assert http.get("/ping").status_code == 200


@pytest.mark.parametrize(
    ("fault", "status", "kind", "start"),
    [
        (Fault("error500"), 500, "application/json", '{"status":500,"error":"'),
        (Fault("error500", nested=True), 500, "application/json", '{"error":{"status":{'),
        (Fault("error500", status=503), 503, "application/json", '{"status":503,"error":"'),
        (Fault("html"), 502, "text/html", "<!DOCTYPE html>"),
        (Fault("forbidden"), 403, "text/html", "<!DOCTYPE html>"),
        (Fault("throttled_text"), 429, "text/plain", "Throttled"),
        (Fault("rate_limited"), 429, "application/json", '{"status":{'),
        (Fault("empty"), 200, "application/json", '{"prices":[],"market_caps":[],"total_'),
        (Fault("nulls"), 200, "application/json", '{"prices":[['),
    ],
)
def test_faults_that_are_answers(
    simulator: Simulator, http: httpx.Client, fault: Fault, status: int, kind: str, start: str
) -> None:
    simulator.add_fault(fault)
    answer = ask_range(http, NOW - 2 * DAY, NOW)
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith(kind)
    assert answer.text.startswith(start)
    assert simulator.requests[-1].status == status
    # Used up by one request.
    assert len(prices(http, NOW - 2 * DAY, NOW)) > 40


def test_nulls_and_emptiness_fit_each_shape(simulator: Simulator, http: httpx.Client) -> None:
    simulator.add_fault(Fault("nulls", times=2))
    chart = ask_range(http, NOW - 2 * DAY, NOW).json()
    assert [value is None for _, value in chart["prices"][:4]] == [False, True, False, True]
    target = "/simple/price?ids=tron&vs_currencies=usd"
    assert http.get(target).json() == {"tron": {"usd": None}}
    simulator.add_fault(Fault("empty", times=2))
    assert http.get(target).json() == {}
    assert http.get("/coins/list").json() == []


def test_a_truncated_answer_is_no_json(simulator: Simulator, http: httpx.Client) -> None:
    simulator.add_fault(Fault("truncated"))
    answer = ask_range(http, NOW - 2 * DAY, NOW)
    assert answer.status_code == 200
    with pytest.raises(ValueError, match=r"JSON|Expecting|Unterminated|delimiter"):
        answer.json()


def test_a_reset_connection_is_reset(simulator: Simulator, http: httpx.Client) -> None:
    simulator.add_fault(Fault("reset", times=2))
    for _ in range(2):
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            http.get("/ping")
        assert simulator.requests[-1].status == 0
    assert http.get("/ping").status_code == 200


def test_a_slow_answer_comes_late(simulator: Simulator, http: httpx.Client) -> None:
    simulator.add_fault(Fault("slow", seconds=0.2, times=2))
    began = time.monotonic()
    assert http.get("/ping").status_code == 200
    assert time.monotonic() - began >= 0.2
    with pytest.raises(httpx.ReadTimeout):
        http.get("/ping", timeout=0.05)


def test_retry_after_of_a_fault(simulator: Simulator, http: httpx.Client) -> None:
    simulator.add_fault(Fault("rate_limited", seconds=119))
    simulator.add_fault(Fault("rate_limited", seconds=119, retry_after="date"))
    simulator.add_fault(Fault("rate_limited", retry_after="none"))
    assert http.get("/ping").headers["retry-after"] == "119"
    date = parsedate_to_datetime(http.get("/ping").headers["retry-after"])
    assert date.timestamp() - time.time() == pytest.approx(119, abs=3)
    assert "retry-after" not in http.get("/ping").headers


def test_faults_choose_their_requests(simulator: Simulator, http: httpx.Client) -> None:
    simulator.add_fault(Fault("html", coin="tron", times=None))
    simulator.add_fault(Fault("html", currency="eur", path="/market_chart", times=None))
    quote = "/simple/price?vs_currencies=usd,eur&ids=bitcoin"
    for _ in range(2):
        assert ask_range(http, NOW - DAY, NOW, "bitcoin", "eur").status_code == 502
        assert ask_range(http, NOW - DAY, NOW, "bitcoin", "usd").status_code == 200
        assert http.get("/coins/tron").status_code == 502
        assert http.get(quote).status_code == 200
        assert http.get(f"{quote},tron").status_code == 502


def test_chances_are_drawn_from_the_seed() -> None:
    def draws() -> list[int]:
        with run_simulator(OPTIONS) as simulator, httpx.Client() as http:
            simulator.add_fault(Fault("html", probability=0.5, times=None))
            return [http.get(f"{simulator.base_url}/ping").status_code for _ in range(40)]

    first = draws()
    assert first == draws()
    assert 8 < first.count(502) < 32


def test_faults_and_the_log_over_http(simulator: Simulator, http: httpx.Client) -> None:
    control = simulator.base_url.removesuffix("/api/v3") + "/_simulator"
    assert http.post(f"{control}/faults", json={"kind": "nonsense"}).status_code == 400
    assert http.post(f"{control}/faults", json={"kind": "html", "typo": 1}).status_code == 400
    wanted = [{"kind": "html", "times": None}, {"kind": "empty"}]
    assert http.post(f"{control}/faults", json=wanted).json() == {"added": 2}
    assert http.get("/ping?a=b", headers={"user-agent": "me/1"}).status_code == 502
    assert http.delete(f"{control}/faults").status_code == 204
    assert http.get("/ping").status_code == 200
    lines = http.get(f"{control}/log").text.splitlines()
    seconds, rest = lines[-2].split(" ", 1)
    assert float(seconds) == pytest.approx(time.time(), abs=5)
    assert rest == "502 /api/v3/ping?a=b key=no agent=me/1"
    assert [str(entry) for entry in simulator.requests] == lines


def test_it_leaves_the_process_as_it_was(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    watched = [logging.getLogger(name) for name in ("uvicorn", "uvicorn.error", "uvicorn.access")]

    def state() -> list[Any]:
        return [
            *map(signal.getsignal, (signal.SIGINT, signal.SIGTERM)),
            *((log.level, log.propagate, list(log.handlers)) for log in watched),
        ]

    before, filters = state(), [len(log.filters) for log in watched]
    with run_simulator(OPTIONS) as simulator:
        assert state() == before
        simulator.add_fault(Fault("reset"))
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{simulator.base_url}/ping")
        assert httpx.get(f"{simulator.base_url}/ping").status_code == 200
    assert state() == before
    assert [len(log.filters) for log in watched] == filters
    assert not [record for record in caplog.records if record.name.startswith("uvicorn")]


async def test_it_stops_at_once_whatever_is_under_way() -> None:
    async with httpx.AsyncClient() as http:
        with run_simulator(OPTIONS) as simulator:
            await http.get(f"{simulator.base_url}/ping")
            simulator.add_fault(Fault("slow", seconds=60))
            waiting = asyncio.create_task(http.get(f"{simulator.base_url}/ping"))
            while len(simulator.requests) < 2:  # noqa: ASYNC110 - filled by another thread
                await asyncio.sleep(0.01)
            began = time.monotonic()
        assert time.monotonic() - began < 1
        with pytest.raises(httpx.HTTPError):
            (await waiting).raise_for_status()
