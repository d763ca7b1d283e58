"""A reference search for anomalies in plain Python, one hour at a time."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

Key = tuple[str, str]  # coin, currency
Prices = Mapping[Key, Mapping[int, float]]  # by number of the hour


@dataclass(frozen=True, slots=True)
class Verdict:
    """The expected return and the signed score of one hour."""

    log_return: float
    expected: float
    score: float
    still: bool


def verdict(prices: Mapping[int, float], hour: int, window: int) -> Verdict | None:
    log_return = change(prices, hour)
    before = [change(prices, earlier) for earlier in range(hour - window, hour)]
    known = [each for each in before if each is not None]
    if log_return is None or 2 * len(known) < window:
        return None
    expected = median(known)
    distances = [abs(each - expected) for each in known]
    deviation = 1.4826 * median(distances) or 1.2533 * fmean(distances)
    score = (log_return - expected) / max(deviation, 1e-6)
    return Verdict(log_return, expected, score, not any(known))


def change(prices: Mapping[int, float], hour: int) -> float | None:
    now, before = prices.get(hour, 0), prices.get(hour - 1, 0)
    return math.log(now / before) if now > 0 and before > 0 else None


def was_back(prices: Mapping[int, float], hour: int) -> bool:
    there, back = change(prices, hour), change(prices, hour + 1)
    return there is not None and back is not None and abs(there + back) <= abs(there) / 4


def anomalies(
    prices: Prices, hours: range, threshold: float, window: int, asked: set[Key] | None = None
) -> list[dict[str, Any]]:
    """Return what `find` should, by time, then by descending score."""
    judged = {
        (key, hour): found
        for key in prices
        for hour in range(hours.start - 1, hours.stop)
        if (found := verdict(prices[key], hour, window))
    }
    flagged = {place for place, found in judged.items() if abs(found.score) > threshold}
    rows = []
    for key, hour in flagged:
        if hour not in hours or (asked is not None and key not in asked):
            continue
        spike = was_back(prices[key], hour) or (
            (key, hour - 1) in flagged and was_back(prices[key], hour - 1)
        )
        rows.append(
            {
                "hour": hour,
                "coin": key[0],
                "currency": key[1],
                "price": prices[key][hour],
                **_judgement(judged, key, hour, threshold, spike=spike),
            }
        )
    return sorted(rows, key=lambda row: (row["hour"], -row["score"], row["coin"], row["currency"]))


def _judgement(
    judged: Mapping[tuple[Key, int], Verdict], key: Key, hour: int, threshold: float, *, spike: bool
) -> dict[str, Any]:
    """Compare an hour that is flagged with the same hour of all other series."""
    found, currency = judged[key, hour], key[1]
    side = math.copysign(1, found.score)
    moved = Counter(_moved(judged, hour, side, threshold))
    present = Counter(its for (_, its), at in judged if at == hour)
    wide = {its for its in moved if 2 * moved[its] > present[its] and moved[its] > 1}
    compared = [its for its in present if present[its] > 1]
    return {
        "logReturn": found.log_return,
        "expectedLogReturn": found.expected,
        "score": abs(found.score),
        "direction": "UP" if side > 0 else "DOWN",
        "scope": "UPSTREAM"
        if spike or found.still
        else "MARKET"
        if 2 * len(wide) > len(compared)
        else "CURRENCY"
        if currency in wide
        else "COIN",
        "coinsAlike": moved[currency],
        "coinsCompared": present[currency],
    }


def _moved(
    judged: Mapping[tuple[Key, int], Verdict], hour: int, side: float, threshold: float
) -> Iterator[str]:
    """Return the currency of each series that moved in this direction."""
    for ((_, currency), at), found in judged.items():
        if at == hour and side * found.score > threshold / 2:
            yield currency
