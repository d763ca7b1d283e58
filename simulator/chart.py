"""Builds the responses of `market_chart/range`, including CoinGecko's irregularities."""

from collections.abc import Iterable
from typing import Literal

import numpy as np

from simulator.catalog import SimulatedCoin
from simulator.market import Market
from simulator.noise import DAY_MS, Floats, Ints, chance, key, uniform

HOUR_MS = 3_600_000
_SLOT_MS = 300_000
_SHORTEST_PAST_RANGE_MS = 2 * HOUR_MS
_LONGEST_HOURLY_RANGE_MS = 90 * DAY_MS
# A day's point, at midnight, is published about this long after midnight.
_DAILY_DELAY_MS = 35 * 60_000

# The distribution of the samples' distance from the full hour; the median is 270 s.
_OFFSET_RANKS = (0.0, 0.05, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)
_OFFSET_SECONDS = (3.0, 80.0, 200.0, 270.0, 430.0, 650.0, 1_250.0, 3_000.0)
_EMPTY_RATE = 0.0015
_DOUBLED_RATES = (0.0005, 0.008)
_NULL_RATE = 0.0005
_SWAP_RATE = 0.0005
_SHORT_CAPS_RATE = 0.05

Granularity = Literal["5-minute", "hourly", "daily", "empty"]
Points = list[tuple[int, float]]


def granularity(start_ms: int, end_ms: int, *, ends_now: bool) -> Granularity:
    """Return the granularity with which CoinGecko answers a range of this length."""
    length = end_ms - start_ms
    if length > _LONGEST_HOURLY_RANGE_MS:
        return "daily"
    if ends_now and length <= DAY_MS:
        return "5-minute"
    if length < _SHORTEST_PAST_RANGE_MS:
        return "empty"
    return "hourly"


class ChartMaker:
    """Builds charts of one series: one coin in one currency."""

    def __init__(self, market: Market, coin: SimulatedCoin, currency: str) -> None:
        self._market = market
        self._coin = coin
        self._currency = currency

    def chart(self, start_ms: int, end_ms: int, now: float) -> dict[str, Points]:
        """Return the body for a range, both ends included; times in milliseconds, `now` in seconds.

        All are counted from 1970-01-01 UTC.
        """
        newest_ms = self._market.last_update(self._coin, now) * 1000
        kind = granularity(start_ms, end_ms, ends_now=end_ms >= newest_ms)
        now_ms = int(now * 1000)
        listed_ms = self._market.listed_at_ms(self._coin)
        first, last = max(start_ms, listed_ms), min(end_ms, now_ms)
        if kind == "empty" or first > last:
            return {"prices": [], "market_caps": [], "total_volumes": []}
        times = self._times(kind, first, last, now_ms)
        times = self._shuffled(times[(times >= first) & (times <= last)])
        if first <= newest_ms <= last:
            times = np.append(times, newest_ms)
        return self._body(times)

    def _times(self, kind: Granularity, first: int, last: int, now_ms: int) -> Ints:
        if kind == "5-minute":
            slots = np.arange(first // _SLOT_MS, last // _SLOT_MS + 1)
            late = self._draw("slot", slots) * (_SLOT_MS / 2)
            return slots * _SLOT_MS + late.astype(np.int64)
        if kind == "daily":
            published = min(last, now_ms - _DAILY_DELAY_MS)
            return np.arange(-(-first // DAY_MS), published // DAY_MS + 1) * DAY_MS
        return self._hourly(np.arange(first // HOUR_MS, last // HOUR_MS + 1))

    def _hourly(self, hours: Ints) -> Ints:
        """Return one sample per hour; a few hours have none, a few have a second one."""
        offsets = np.interp(self._draw("offset", hours), _OFFSET_RANKS, _OFFSET_SECONDS) * 1000
        times = hours * HOUR_MS + offsets.astype(np.int64)
        present = self._draw("empty", hours) >= _EMPTY_RATE
        low, high = _DOUBLED_RATES
        rate = low + (high - low) * chance(self._stream("rate"), 0) ** 2
        doubled = present & (self._draw("doubled", hours) < rate)
        share = 0.15 + 0.8 * self._draw("second", hours[doubled])
        second = times[doubled] + (share * (HOUR_MS - offsets[doubled])).astype(np.int64)
        return np.sort(np.concatenate([times[present], second]))

    def _shuffled(self, times: Ints) -> Ints:
        """Swap a few points with their successors."""
        for early in np.flatnonzero(self._draw("swap", times[:-1]) < _SWAP_RATE).tolist():
            times[[early, early + 1]] = times[[early + 1, early]]
        return times

    def _body(self, times: Ints) -> dict[str, Points]:
        quotes = self._market.quotes(self._coin, self._currency, times)
        millis = times.tolist()
        caps = _points(millis, quotes.market_caps)
        volumes: Points = []
        if self._coin.ranked:
            caps = _points(millis, self._with_nulls("null cap", times, quotes.market_caps))
            volumes = _points(millis, self._with_nulls("null volume", times, quotes.volumes))
        if millis and chance(self._stream("short"), millis[-1]) < _SHORT_CAPS_RATE:
            caps.pop()
        return {
            "prices": _points(millis, quotes.prices),
            "market_caps": caps,
            "total_volumes": volumes,
        }

    def _with_nulls(self, purpose: str, times: Ints, values: Floats) -> Floats:
        return np.where(self._draw(purpose, times) < _NULL_RATE, np.nan, values)

    def _draw(self, purpose: str, index: Ints) -> Floats:
        return uniform(self._stream(purpose), index)

    def _stream(self, purpose: str) -> int:
        return key(self._market.seed, "chart", self._coin.id, self._currency, purpose)


def _points(millis: Iterable[int], values: Floats) -> Points:
    # NaN becomes null in JSON.
    return list(zip(millis, values.tolist(), strict=True))
