"""Fetches the windows and daily points of series."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile

import numpy as np
import numpy.typing as npt
import structlog

from ingestion.coingecko.client import CoinGecko
from ingestion.coingecko.errors import HistoryTooLong
from ingestion.coingecko.types import CallStats, Chart, Dropped
from ingestion.planning.windows import SeriesPlan, Window
from ingestion.run.buckets import daily_points
from models.history import offered_from
from models.prices.gaps import AskedRange
from models.prices.hours import Hours, instant, micros

log = structlog.get_logger("coingraph.refresh")

NEARLY_WHOLE = 0.9  # share of the hours; CoinGecko usually lacks one in a hundred
_HOURS_IN_ONE_PIECE = 24
_LATE = timedelta(days=1)
_HOUR_MILLIS, _DAY_MILLIS = 3_600_000, 86_400_000
_DAYS_APART = 12 * _HOUR_MILLIS  # a larger median distance means that the points are daily
_NEAR_MIDNIGHT = 30 * 60_000
AGAIN = "missing prices are requested again."


@dataclass(frozen=True, slots=True)
class Fetched:
    """The fetched windows of a series.

    `answered` holds each window with its chart, newest first; `refused` the windows that upstream
    refused, for the reason `refusal`. `at` is the time of the last call.
    """

    answered: Sequence[tuple[Window, Chart]]
    at: datetime
    refused: Sequence[Window] = ()
    refusal: str | None = None

    @property
    def charts(self) -> list[Chart]:
        """The charts with hours. Charts with days in place of hours are left out."""
        return [chart for _, chart in self.answered if _has_hours(chart)]

    @property
    def start(self) -> datetime:
        """The start of the oldest answered window."""
        return min(window.start for window, _ in self.answered)

    @property
    def asked(self) -> list[AskedRange]:
        """The requested ranges, each with whether its response is evidence of gaps.

        A response with hours is evidence of the hours that it leaves out. An empty one is evidence
        only if the prices of the next newer window begin late: the coin may not have been listed.
        """
        asked = [AskedRange(each.start, each.end, self.at, answered=False) for each in self.refused]
        begun = False
        for window, chart in self.answered:
            if _has_hours(chart):
                begun = _first_price(chart) - window.start > _LATE
                evident = True
            else:
                evident = begun
            asked.append(AskedRange(window.start, window.end, self.at, answered=evident))
        return asked

    @property
    def known_from(self) -> datetime:
        """The start of the hourly history: of the oldest window with hours.

        Empty windows before it do not count, so that daily points can cover them.
        """
        full = [window.start for window, chart in self.answered if _has_hours(chart)]
        return min(full) if full else self.start

    @property
    def full_from(self) -> datetime | None:
        """The start of the unbroken sequence of windows with hours; None if the newest has none."""
        full = list(takewhile(lambda each: _has_hours(each[1]), self.answered))
        return full[-1][0].start if full else None

    def shortfall(self, confirmed_gaps: Sequence[tuple[datetime, datetime]] = ()) -> str | None:
        """Describe what the responses lack; None if they are nearly complete.

        They are with 90 % of their hours, and no gap of a day or more. Hours in `confirmed_gaps`,
        which upstream is known to lack, do not count.
        """
        if self.refusal is not None:
            return self.refusal
        got = wanted = longest = 0
        for window, chart in self.answered:
            there, counts = _hours_there(window, chart), _hours_outside(window, confirmed_gaps)
            got += int((there & counts).sum())
            wanted += int(counts.sum())
            longest = max(longest, _longest_run(~there & counts))
        if got >= NEARLY_WHOLE * wanted and longest < _HOURS_IN_ONE_PIECE:
            return None
        if any(_has_prices(chart) and not _has_hours(chart) for _, chart in self.answered):
            return f"CoinGecko sent days instead of hours: {got:,} of {wanted:,} hours arrived."
        return f"CoinGecko sent {got:,} of {wanted:,} hours: {AGAIN}"


@dataclass(frozen=True, slots=True)
class FetchedDays:
    """The daily points of a range; `problem` explains why there are none."""

    window: Window
    points: Hours
    problem: str | None = None


class Fetcher:
    """Makes the calls of one run for its series.

    `dropped` counts the invalid daily points by series id.
    """

    def __init__(self, upstream: CoinGecko, now: Callable[[], datetime]) -> None:
        self._upstream = upstream
        self._now = now
        self.dropped: dict[int, Dropped] = {}

    async def hours(self, plan: SeriesPlan, stats: CallStats) -> Fetched:
        """Fetch the windows of a series, newest first, as far back as the API plan offers.

        Raises UpstreamError if a window fails, except that HistoryTooLong ends the series early if
        a newer window was answered.
        """
        answered: list[tuple[Window, Chart]] = []
        windows = [*plan.windows, *plan.rest]
        for number, window in enumerate(windows):
            # The newest window reaches to the time of its call, not to that of the plan.
            now = self._now()
            if number == len(plan.windows) and not any(_has_prices(chart) for _, chart in answered):
                break  # still no prices, so the older windows can wait
            asked = self._offered(window, now, end=window.end if answered else now)
            try:
                chart = await self._chart(plan, asked, stats)
            except HistoryTooLong as error:
                if not answered:
                    raise
                log.warning("history ends", **_name(plan), error=str(error))
                return Fetched(answered, now, windows[number:], str(error))
            answered.append((asked, chart))
        return Fetched(answered, now)

    async def daily(self, plan: SeriesPlan, window: Window, stats: CallStats) -> FetchedDays:
        """Fetch the daily points of a series; `problem` is set if upstream sends none.

        Raises UpstreamError if the call fails.
        """
        now = self._now()
        asked = self._offered(window, now, end=now)
        try:
            chart = await self._chart(plan, asked, stats)
        except HistoryTooLong as error:
            log.warning("daily history refused", **_name(plan), error=str(error))
            return FetchedDays(asked, daily_points([], asked.start, asked.end), str(error))
        self.dropped[plan.state.series_id] = chart.dropped
        points = daily_points([chart], asked.start, asked.end)
        empty = None if _has_prices(chart) else f"CoinGecko sent no days: {AGAIN}"
        return FetchedDays(asked, points, empty)

    def _offered(self, window: Window, now: datetime, end: datetime) -> Window:
        """Limit a window to the history offered now, which moves while a run is in progress."""
        offered = offered_from(now, self._upstream.history) or window.start
        return Window(max(window.start, offered), max(window.end, end))

    async def _chart(self, plan: SeriesPlan, window: Window, stats: CallStats) -> Chart:
        coin, currency = plan.state.coin_id, plan.state.currency_code
        return await self._upstream.market_chart_range(
            coin, currency, window.start, window.end, stats=stats
        )


def _has_prices(chart: Chart) -> bool:
    return bool(np.isfinite(chart.prices.values).any())


def _times(chart: Chart) -> npt.NDArray[np.int64]:
    """Return the times of a chart's prices in milliseconds since 1970, ascending."""
    return np.unique(chart.prices.times[np.isfinite(chart.prices.values)])


def _has_hours(chart: Chart) -> bool:
    """Return True if a chart has prices that are not daily points.

    Daily points are a day apart, at midnight or minutes later, except the newest, which may be the
    "now" point.
    """
    times = _times(chart)
    if len(times) < 2:  # noqa: PLR2004 - a single point is a sample of its hour
        return len(times) == 1
    apart = np.median(np.diff(times)) >= _DAYS_APART
    return not (apart and (times[:-1] % _DAY_MILLIS <= _NEAR_MIDNIGHT).all())


def _hours_there(window: Window, chart: Chart) -> npt.NDArray[np.bool_]:
    """Return a boolean per whole hour of a window: whether the chart has a price in it."""
    first, last = _hour(window.start), _hour(window.end)
    there = np.zeros(max(last - first, 0), np.bool_)
    if _has_hours(chart):
        hours = _times(chart) // _HOUR_MILLIS - first
        there[hours[(hours >= 0) & (hours < len(there))]] = True
    return there


def _hours_outside(
    window: Window, ranges: Sequence[tuple[datetime, datetime]]
) -> npt.NDArray[np.bool_]:
    """Return a boolean per whole hour of a window: whether it is outside all of these ranges."""
    first, last = _hour(window.start), _hour(window.end)
    outside = np.ones(max(last - first, 0), np.bool_)
    for start, end in ranges:
        outside[max(_hour(start) - first, 0) : max(_hour(end) - first, 0)] = False
    return outside


def _longest_run(missing: npt.NDArray[np.bool_]) -> int:
    edges = np.flatnonzero(np.diff(missing, prepend=False, append=False))
    return int((edges[1::2] - edges[::2]).max(initial=0))


def _hour(moment: datetime) -> int:
    return micros(moment) // (1000 * _HOUR_MILLIS)


def _first_price(chart: Chart) -> datetime:
    return instant(int(_times(chart)[0]) * 1000)


def _name(plan: SeriesPlan) -> dict[str, str]:
    return {"coin": plan.state.coin_id, "currency": plan.state.currency_code}
