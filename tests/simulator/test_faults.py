"""What goes wrong on request."""

import time
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime

import httpx
import pytest

from simulator import Fault, Simulator, run_simulator
from tests.simulator.asking import DAY, NOW, OPTIONS, ask_range, prices


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
    simulator.add_fault(Fault("slow", seconds=0.2))
    began = time.monotonic()
    assert http.get("/ping").status_code == 200
    assert time.monotonic() - began >= 0.2
    simulator.add_fault(Fault("slow", seconds=60))
    with pytest.raises(httpx.ReadTimeout):
        http.get("/ping", timeout=0.5)


def test_a_slow_answer_comes_when_the_faults_are_cleared(
    simulator: Simulator, http: httpx.Client
) -> None:
    simulator.add_fault(Fault("slow", seconds=3600))
    asked = len(simulator.requests)
    with ThreadPoolExecutor() as threads:
        answer = threads.submit(http.get, "/ping", timeout=60)
        while len(simulator.requests) == asked:
            time.sleep(0.01)
        assert not answer.done()
        simulator.clear_faults()
        assert answer.result().status_code == 200


def test_retry_after_of_a_fault(simulator: Simulator, http: httpx.Client) -> None:
    simulator.add_fault(Fault("rate_limited", seconds=119))
    simulator.add_fault(Fault("rate_limited", seconds=119, retry_after="date"))
    simulator.add_fault(Fault("rate_limited", retry_after="none"))
    assert http.get("/ping").headers["retry-after"] == "119"
    date = parsedate_to_datetime(http.get("/ping").headers["retry-after"])
    assert date.timestamp() - time.time() == pytest.approx(119, abs=60)
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
    assert float(seconds) == pytest.approx(time.time(), abs=60)
    assert rest == "502 /api/v3/ping?a=b key=no agent=me/1"
    assert [str(entry) for entry in simulator.requests] == lines
