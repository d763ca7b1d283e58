"""What is refused, and that the process is left as it was."""

import asyncio
import logging
import signal
import time
from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest

from simulator import Fault, Simulator, run_simulator
from simulator.options import ApiPlan, RetryAfterForm
from tests.simulator.asking import DAY, NOW, OPTIONS

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


_WINDOW = 2  # seconds, in which some requests arrive even on a busy machine
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
def test_keys(plan: ApiPlan, headers: dict[str, str], status: int, code: int | None) -> None:
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


@pytest.mark.slow
@pytest.mark.parametrize("form", ["seconds", "date", "none"])
def test_the_rate_limit_slides_and_says_how_long(form: RetryAfterForm) -> None:
    options = replace(OPTIONS, requests_per_minute=3, limit_window=_WINDOW, retry_after=form)
    with run_simulator(options) as simulator, httpx.Client(base_url=simulator.base_url) as http:
        # What fails counts too.
        assert [http.get(path).status_code for path in ("/ping", "/nosuch", "/ping", "/ping")] == [
            200, 404, 200, 429,
        ]  # fmt: skip
        refused = http.get("/ping")
        assert refused.json()["status"]["error_code"] == 429
        retry_after = refused.headers.get("retry-after")
        if form == "seconds":
            assert 1 <= int(retry_after) <= _WINDOW
        elif form == "date":
            assert 0 < parsedate_to_datetime(retry_after).timestamp() - time.time() < _WINDOW + 2
        else:
            assert retry_after is None
        time.sleep(_WINDOW + 0.05)
        assert http.get("/ping").status_code == 200


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
        assert time.monotonic() - began < 30
        with pytest.raises(httpx.HTTPError):
            (await waiting).raise_for_status()
