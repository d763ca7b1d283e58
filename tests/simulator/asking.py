"""Questions to a simulator whose time stands still at NOW."""

import httpx

from simulator import SimulatorOptions

NOW = 1_767_268_000.25  # 2026-01-01 11:46:40 UTC


HOUR, DAY = 3_600, 86_400


OPTIONS = SimulatorOptions(clock=lambda: NOW)


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
