"""Upstreams that refuse everything: how many calls that costs, what is said, and what comes after.

The calls are those that upstream saw.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from ingestion.coingecko import circuit_breaker
from ingestion.coingecko.circuit_breaker import MOST_FAILURES, CircuitBreaker
from ingestion.coingecko.client import CoinGecko
from ingestion.coingecko.errors import (
    BadAnswer,
    RateLimited,
    ServerFault,
    Unreachable,
    UpstreamDown,
    UpstreamError,
)
from ingestion.coingecko.retries import RetryPolicy
from ingestion.jobs.schedule import pause_after_failures
from ingestion.quota.throttle import Throttle
from ingestion.run.refresher import Refresher
from models.postgres.database import Database
from tests.ingestion.jumping import now, run
from tests.ingestion.polling import leads, poller_of
from tests.ingestion.running import Deployment
from tests.ingestion.scripted import HANG, Kind, ScriptedUpstream, http, scripted
from tests.ingestion.talking import PING

COINS, CURRENCIES = ("bitcoin", "ethereum", "solana", "tron"), ("usd", "eur")
PAGE = b"<!DOCTYPE html><html><head><title>%s</title></head><body></body></html>"
HTML = "Content-Type: text/html"


def page(status: str, title: str, *headers: str) -> bytes:
    return http(PAGE % title.encode(), HTML, *headers, status=status)


def in_json(body: object, status: str = "200 OK") -> bytes:
    return http(json.dumps(body).encode(), status=status)


# Each with a part of what the run says, and a part of its advice.
REFUSALS = {
    "banned": (page("403 Forbidden", "Access denied"), "answered 403", "REQUESTS_PER_MINUTE"),
    "challenge": (page("403 Forbidden", "Just a moment..."), "answered 403", "COINGECKO_API_KEY"),
    "503": (page("503 Service Unavailable", "Down"), "answered 503", "wait until CoinGecko"),
    "503, Retry-After": (
        page("503 Service Unavailable", "Down", "Retry-After: 0.02"), "answered 503", "wait until",
    ),
    "500 in JSON": (in_json({"error": "x"}, "500 Oops"), "answered 500", "wait until"),
    "301": (http(b"", "Location: https://x.invalid/", status="301 Moved"), "a redirect", "_URL"),
    "302": (page("302 Found", "Login", "Location: /login"), "a redirect", "COINGECKO_BASE_URL"),
    "empty 200": (http(b""), "no JSON", "a proxy or a login page"),
    "HTML 200": (page("200 OK", "Welcome"), "no JSON", "a proxy or a login page"),
    "{} 200": (in_json({}), "CoinGecko", "newer version"),
    "[] 200": (in_json([]), "CoinGecko", "newer version"),
    "null 200": (in_json(None), "CoinGecko", "newer version"),
    **{
        str(status): (page(f"{status} Cloudflare", "Error"), f"answered {status}", "wait until")
        for status in (502, 504, *range(520, 528), 530)
    },
    "reset": (b"", "cannot be reached", "network"),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.6\r\n", "cannot be reached", "network"),
    "404 page": (page("404 Not Found", "nginx"), "404", "COINGECKO_BASE_URL"),
    "400 in JSON": (in_json({"error": "no"}, "400 Bad Request"), "answered 400", "next refresh"),
    "418": (page("418 Teapot", "Tea"), "answered 418", ""),
    "429": (in_json({}, "429 Too Many"), "too many calls", "COINGECKO_REQUESTS_PER_MINUTE"),
    "throttled": (http(b"Throttled"), "too many calls", "COINGECKO_REQUESTS_PER_MINUTE"),
    "401": (in_json({}, "401 Unauthorized"), "refuses access", "COINGECKO_API_KEY"),
}  # fmt: skip


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with scripted() as made:
        yield made


async def process(
    deployment: Deployment,
    upstream: ScriptedUpstream,
    *,
    url: str = "",
    answer_seconds: float = 30.0,
) -> Refresher:
    """A process that tries each call as often as one does that is not under test."""
    return await deployment.process(
        COINS,
        CURRENCIES,
        base_url=url or upstream.url,
        attempts=6,
        answer_seconds=answer_seconds,
        history_days=3,
    )


async def calls_of_a_refresh(
    deployment: Deployment, upstream: ScriptedUpstream, refresher: Refresher
) -> tuple[int, str]:
    """Refresh in vain; how many calls that took, and what was said of it."""
    upstream.calls.clear()
    ended = await deployment.refresh(refresher)
    assert ended.status == "FAILED"
    assert ended.run["error"]
    assert "\n" not in ended.run["error"]
    assert len(ended.failed) == len(ended.items) == 8, "its items say so"
    assert ended.run["error"] in ended.failed.values()
    planned, completed, failed = ended.calls
    assert planned == completed + failed
    return len(upstream.calls), ended.run["error"]


@pytest.mark.endurance
@pytest.mark.parametrize(
    ("some", "most", "again"),
    # those in flight with the last one come on top; newest prices are an answer, to begin with
    [("everything", 10, 7), ("charts", 11, 11)],
)
async def test_what_refuses_everything_is_not_hammered(
    deployment: Deployment, upstream: ScriptedUpstream, some: str, most: int, again: int
) -> None:
    wrong = {}
    refresher = await process(deployment, upstream)
    for name, (reply, said, advice) in REFUSALS.items():

        def refuse(kind: Kind, _target: str, reply: bytes = reply) -> bytes | None:
            return reply if some == "everything" or kind not in {"price", "coin"} else None

        if some == "charts" and "in JSON" in name and "400" in name:
            continue  # CoinGecko's own word about each series, while others are answered
        upstream.refuse = lambda _kind, _target: None
        await deployment.clients[-1].coin_list()  # all is well
        upstream.refuse = refuse
        first, error = await calls_of_a_refresh(deployment, upstream, refresher)
        # the next one, as a schedule starts it, finds out with less
        second, _ = await calls_of_a_refresh(deployment, upstream, refresher)
        if first > most or second > again or said not in error or advice not in error:
            wrong[name] = (first, second, error)
    assert wrong == {}


@pytest.mark.slow
@pytest.mark.parametrize("how", ["banned", "{} 200"])
async def test_refreshes_recover_after_a_ban(
    deployment: Deployment, upstream: ScriptedUpstream, how: str
) -> None:
    reply = REFUSALS[how][0]
    refresher = await process(deployment, upstream)
    upstream.refuse = lambda _kind, _target: reply
    for _ in range(2):
        calls, _ = await calls_of_a_refresh(deployment, upstream, refresher)
        assert calls <= 10
    upstream.refuse = lambda _kind, _target: None
    ended = await deployment.refresh(refresher)
    assert (ended.status, ended.failed, ended.run["error"]) == ("SUCCEEDED", {}, None)
    for name in ended.items:
        assert len(await deployment.hours(name)) >= 72
        assert (await deployment.series(name))["consecutive_failures"] == 0


@pytest.mark.slow
async def test_timeouts_and_tls_failures_are_not_hammered(
    deployment: Deployment, upstream: ScriptedUpstream
) -> None:
    upstream.refuse = lambda _kind, _target: HANG
    refresher = await process(deployment, upstream, answer_seconds=0.05)
    calls, error = await calls_of_a_refresh(deployment, upstream, refresher)
    assert calls <= 10
    assert "no answer in time" in error
    secure = upstream.url.replace("http:", "https:")
    refresher = await process(deployment, upstream, url=secure)
    calls, error = await calls_of_a_refresh(deployment, upstream, refresher)
    assert 1 <= calls <= 10
    assert "cannot be reached" in error


@pytest.mark.slow
async def test_one_series_that_fails_stops_no_other(
    deployment: Deployment, upstream: ScriptedUpstream
) -> None:
    """The last ones in the order of work, all of one coin and all of one kind of call."""
    reply = REFUSALS["503"][0]
    upstream.refuse = lambda kind, target: reply if kind == "chart" and "/tron/" in target else None
    ended = await deployment.refresh(await process(deployment, upstream))
    assert (ended.status, ended.run["error"]) == ("PARTIAL", None)
    assert set(ended.failed) == {"tron/usd", "tron/eur"}
    assert sum("/tron/market_chart" in target for _, target in upstream.calls) <= 2 * 6
    assert upstream.count("daily") == 6


@pytest.mark.slow
async def test_some_series_in_a_row_that_fail_stop_no_other(
    deployment: Deployment, upstream: ScriptedUpstream
) -> None:
    coins = [f"coin-{number}" for number in range(12)]
    upstream.refuse = lambda kind, target: (
        REFUSALS["503"][0]
        if kind == "chart" and any(f"/coin-{number}/" in target for number in range(4, 9))
        else None
    )
    refresher = await deployment.process(
        coins, ["usd"], base_url=upstream.url, attempts=6, history_days=3
    )
    ended = await deployment.refresh(refresher)
    assert (ended.status, ended.run["error"]) == ("PARTIAL", None)
    assert set(ended.failed) == {f"coin-{number}/usd" for number in range(4, 9)}
    assert all(error.startswith("CoinGecko answered 503") for error in ended.failed.values())


async def test_successful_live_polls_do_not_end_an_outage_of_charts(
    deployment: Deployment, database: Database, upstream: ScriptedUpstream
) -> None:
    """A ban of charts alone, and a poll along with every other call, as at six calls a minute."""
    coins = [f"coin-{number}" for number in range(20)]
    refresher = await deployment.process(
        coins, ["usd"], base_url=upstream.url, attempts=6, history_days=3
    )
    poller = poller_of(database, deployment.clients[-1], coins=tuple(coins))
    polled = asyncio.Semaphore(0)

    def refuse(kind: Kind, _target: str) -> bytes | None:
        if kind not in {"chart", "daily"}:
            return None
        polled.release()
        return REFUSALS["banned"][0]

    async def poll() -> None:
        while True:
            await polled.acquire()
            await poller.poll(leads)

    upstream.refuse = refuse
    polling = asyncio.create_task(poll())
    ended = await deployment.refresh(refresher)
    polling.cancel()
    await asyncio.gather(polling, return_exceptions=True)
    assert ended.status == "FAILED"
    assert upstream.count("price") > 1
    assert upstream.count("chart", "daily") <= 12


async def test_an_outage_in_the_middle_ends_the_run(
    deployment: Deployment, upstream: ScriptedUpstream
) -> None:
    """Eight series came before it; what they brought stays."""
    coins = [f"coin-{number}" for number in range(40)]

    def refuse(_kind: Kind, _target: str) -> bytes | None:
        return REFUSALS["banned"][0] if len(upstream.calls) > 9 else None

    upstream.refuse = refuse
    refresher = await deployment.process(
        coins, ["usd"], base_url=upstream.url, attempts=6, history_days=3
    )
    ended = await deployment.refresh(refresher)
    assert ended.status == "FAILED"
    # four under way count once; one more asks whether upstream answers anybody
    assert len(upstream.calls) <= 9 + 11
    assert "REQUESTS_PER_MINUTE" in ended.run["error"]
    stored = [name for name, item in ended.items.items() if item["status"] == "SUCCEEDED"]
    assert 5 <= len(stored) <= 8
    for name in stored:
        assert len(await deployment.hours(name)) >= 72


async def test_an_outage_after_the_series_costs_them_nothing(
    deployment: Deployment, upstream: ScriptedUpstream
) -> None:
    upstream.refuse = lambda kind, _target: (
        REFUSALS["503"][0] if kind in {"coin", "daily"} else None
    )
    ended = await deployment.refresh(await process(deployment, upstream))
    assert ended.status == "PARTIAL"
    assert {item["status"] for item in ended.items.values()} == {"PARTIAL"}, "days are missing"
    assert "stopped answering" in ended.run["note"]
    assert upstream.count("coin", "daily") <= 10
    planned, completed, failed = ended.calls
    assert planned == completed + failed


def retry_after(seconds: int, form: str) -> dict[str, str]:
    if form == "seconds":
        return {"Retry-After": str(seconds)}
    sent = datetime(2026, 3, 1, tzinfo=UTC)
    until = sent + timedelta(seconds=seconds)
    return {"Retry-After": format_datetime(until, usegmt=True), "Date": format_datetime(sent)}


@pytest.mark.parametrize("status", [503, 429, 403, 500, 520, 302])
@pytest.mark.parametrize("form", ["seconds", "date"])
@pytest.mark.parametrize(("named", "waited"), [(119, 119.0), (86_400, 900.0)])
def test_retry_after_is_honoured_with_any_status(
    status: int, form: str, named: int, waited: float
) -> None:
    arrivals: list[float] = []

    def reply(_: httpx.Request) -> httpx.Response:
        arrivals.append(now())
        if len(arrivals) == 1:
            return httpx.Response(status, headers=retry_after(named, form))
        return httpx.Response(200, content=PING)

    async def main() -> None:
        throttle = Throttle(600)
        async with CoinGecko(
            throttle=throttle, transport=httpx.MockTransport(reply), timeout=10_000
        ) as upstream:
            await upstream.ping()
            assert throttle.pause_left == 0

    run(main())
    assert arrivals[1] - arrivals[0] == pytest.approx(waited, abs=0.2)


class Time:
    """A clock that moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


async def fail(outage: CircuitBreaker, time: Time, call: str) -> None:
    async with outage.attempt():
        began = outage.begin()
        time.now += 0.1
        outage.failed(call, began)


async def test_an_outage_is_over_with_one_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(circuit_breaker, "_FIRST_PAUSE", 0.5)
    time = Time()
    outage = CircuitBreaker(clock=time, sleep=time.sleep)
    for number in range(MOST_FAILURES):
        assert not outage.forbids_retries
        await fail(outage, time, f"call {number // 2}")
    assert (outage.forbids_retries, outage.forbids_calls, outage.calls) == (True, False, 3)
    assert time.now - 1000 == pytest.approx(0.5 + 1 + 2 + 4 + 8 + 0.6)
    await fail(outage, time, "another call")
    assert outage.forbids_calls
    time.now += 601
    await fail(outage, time, "call 0")
    assert not outage.forbids_retries, "after a while retries are allowed again"
    outage.answered()
    assert (outage.forbids_retries, outage.forbids_calls, outage.calls) == (False, False, 0)


async def test_failures_of_calls_under_way_together_are_one() -> None:
    time = Time()
    outage = CircuitBreaker(clock=time, sleep=time.sleep)
    began = [outage.begin() for _ in range(4)]
    for number, at in enumerate(began):
        time.now += 1
        outage.failed(f"call {number}", at)
    for _ in range(MOST_FAILURES - 2):
        await fail(outage, time, "call 0")
    assert not outage.forbids_retries
    await fail(outage, time, "call 0")
    assert outage.forbids_calls


def test_rate_limits_are_retried_more_often_than_faults() -> None:
    policy = RetryPolicy(6, CircuitBreaker())
    assert [policy(ServerFault("")) for _ in range(3)] == [True] * 3
    assert [policy(RateLimited("")) for _ in range(11)] == [0.0] * 10 + [False]
    assert [policy(Unreachable("")) for _ in range(3)] == [True, True, False]
    assert policy(BadAnswer("")) is False
    assert RetryPolicy(1, CircuitBreaker())(RateLimited("")) is False
    assert RetryPolicy(1, CircuitBreaker())(Unreachable("")) is False


@pytest.mark.parametrize("error", [ServerFault("x", status=403), Unreachable("x"), BadAnswer("x")])
def test_the_end_is_one_sentence(error: UpstreamError) -> None:
    said = str(UpstreamDown.after(error, 4))
    assert said.startswith("x; 4 calls in a row failed, so no more were made: ")
    assert "\n" not in said
    assert not said.endswith(": ")


def test_runs_that_fail_come_less_often() -> None:
    minutes = [pause_after_failures(failures) / timedelta(minutes=1) for failures in range(7)]
    assert minutes == [0, 2, 4, 8, 15, 15, 15]
    assert pause_after_failures(10**6) == timedelta(minutes=15)
