"""What refreshes should store, worked out from upstream's raw JSON."""

from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

from tests.recomputed import day_of

HOUR_MS = 3_600_000
Hours = dict[datetime, tuple[datetime, float, float | None, float | None]]


class Clock:
    """Upstream's time: it stands still until a test moves it."""

    def __init__(self, start: Callable[[], float]) -> None:
        self.now = start()

    def __call__(self) -> float:
        return self.now


async def charts_of(
    http: httpx.AsyncClient, targets: Iterable[str], currency: str
) -> list[dict[str, Any]]:
    """Ask again, without our client, for the charts in this currency among `targets`."""
    wanted = [
        target
        for target in dict.fromkeys(targets)
        if parse_qs(urlsplit(target).query)["vs_currency"] == [currency]
    ]
    return [(await http.get(target)).json() for target in wanted]


def is_daily(target: str) -> bool:
    """Return True if this call requests more than 90 days, which upstream answers in days."""
    asked = parse_qs(urlsplit(target).query)
    return int(asked["to"][0]) - int(asked["from"][0]) > 90 * 86_400


def points_of(charts: list[dict[str, Any]], before: datetime) -> dict[date, tuple[Any, ...]]:
    """Make days of the daily points of raw charts: one price is all that is known of such a day."""
    days: dict[date, tuple[Any, ...]] = {}
    for chart in charts:
        caps, volumes = dict(chart["market_caps"]), dict(chart["total_volumes"])
        for at, price in chart["prices"]:
            if at % (24 * HOUR_MS) == 0 and moment(at) < before and price is not None:
                days[moment(at).date()] = (*[price] * 5, caps.get(at), volumes.get(at), 1)
    return days


def moment(millis: float) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=millis)


def hours_of(charts: list[dict[str, Any]]) -> tuple[Hours, int]:
    """Make the hours of raw charts by the rules, and count the samples dropped."""
    arrays: list[dict[int, float]] = [{}, {}, {}]
    for chart in charts:
        names = ("prices", "market_caps", "total_volumes")
        for gathered, name in zip(arrays, names, strict=True):
            gathered.update({at: value for at, value in chart[name] if value is not None})
    prices, caps, volumes = arrays
    hours: Hours = {}
    for at in sorted(prices):
        sample = (moment(at), prices[at], caps.get(at), volumes.get(at))
        hours.setdefault(moment(at - at % HOUR_MS), sample)
    return hours, len(prices) - len(hours)


def days_of(hours: Hours, known_from: datetime) -> dict[date, tuple[Any, ...]]:
    """Make days of hours; the mean within the 12th digit."""
    by_day: dict[date, list[tuple[float, float | None, float | None]]] = {}
    for at in sorted(hours):
        if at.replace(hour=0) >= known_from:
            by_day.setdefault(at.date(), []).append(hours[at][1:])
    return {day: day_of(samples) for day, samples in by_day.items()}
