"""Calls for series, and which of them were answered."""

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

NEARLY_WHOLE = 0.9  # of its hours; CoinGecko lacks one of a hundred
_HOURS_IN_ONE_PIECE = 24
_LATE = timedelta(days=1)
_HOUR_MILLIS, _DAY_MILLIS = 3_600_000, 86_400_000
_DAYS_APART = 12 * _HOUR_MILLIS  # more than so much between most points: they are days
_NEAR_MIDNIGHT = 30 * 60_000
AGAIN = "what is missing is asked for again."


@dataclass(frozen=True, slots=True)
class Fetched:
    """The windows of a series that were answered, the newest first, and those that were not.

    All of it came by `at`. `refusal` is why the others were not answered.
    """

    answered: Sequence[tuple[Window, Chart]]
    at: datetime
    refused: Sequence[Window] = ()
    refusal: str | None = None

    @property
    def charts(self) -> list[Chart]:
        """The answers that are in hours: days in place of hours are no samples of hours."""
        return [chart for _, chart in self.answered if _has_hours(chart)]

    @property
    def start(self) -> datetime:
        return min(window.start for window, _ in self.answered)

    @property
    def asked(self) -> list[AskedRange]:
        """What was asked for, and whether the answer is evidence of what it leaves out.

        An answer with hours is. An empty one is none, unless the next newer window has begun late:
        then it may lie before the coin was listed.
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
        """Since when hours are known: not in empty windows that are older than all others.

        There, the days are better than nothing.
        """
        full = [window.start for window, chart in self.answered if _has_hours(chart)]
        return min(full) if full else self.start

    @property
    def full_from(self) -> datetime | None:
        """Since when every window brought prices, None where the newest has none."""
        full = list(takewhile(lambda each: _has_hours(each[1]), self.answered))
        return full[-1][0].start if full else None

    def shortfall(self, confirmed_gaps: Sequence[tuple[datetime, datetime]] = ()) -> str | None:
        """Say what is wrong with the answers, None where they are nearly whole.

        They are with nine tenths of their hours, and less than a day missing in one piece. Hours
        of the ranges `shown`, which upstream has shown not to have, are not counted.
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
            return f"CoinGecko gave days in place of hours: {got:,} of {wanted:,} hours came."
        return f"CoinGecko gave {got:,} of {wanted:,} hours: {AGAIN}"


@dataclass(frozen=True, slots=True)
class FetchedDays:
    """The daily points of a range; where upstream gave none, `problem` says why."""

    window: Window
    points: Hours
    problem: str | None = None


class Fetcher:
    """Makes the calls of one run for series. `dropped` counts what was dropped of their days."""

    def __init__(self, upstream: CoinGecko, now: Callable[[], datetime]) -> None:
        self._upstream = upstream
        self._now = now
        self.dropped: dict[int, Dropped] = {}

    async def hours(self, plan: SeriesPlan, stats: CallStats) -> Fetched:
        """Fetch the windows of a series, the newest first, as far back as the API's plan offers."""
        answered: list[tuple[Window, Chart]] = []
        windows = [*plan.windows, *plan.rest]
        for number, window in enumerate(windows):
            # The newest window reaches to the moment of its call, not to that of the plan.
            now = self._now()
            if number == len(plan.windows) and not any(_has_prices(chart) for _, chart in answered):
                break  # nothing has changed, so the rest can wait
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
        """Fetch the daily points of a series; none, with the reason, where upstream gives none.

        Raises UpstreamError where there is no answer.
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
        """Start a window where the offered history starts by now: runs take their time."""
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
    """Give when the prices of a chart were observed, in milliseconds, by rising time."""
    return np.unique(chart.prices.times[np.isfinite(chart.prices.values)])


def _has_hours(chart: Chart) -> bool:
    """Return True if a chart has prices, and these are not points of days.

    Where upstream gives days in place of hours, they lie a day apart, at midnight or minutes past
    it, but for the newest, which may be of now.
    """
    times = _times(chart)
    if len(times) < 2:  # noqa: PLR2004 - one point alone is a sample of its hour
        return len(times) == 1
    apart = np.median(np.diff(times)) >= _DAYS_APART
    return not (apart and (times[:-1] % _DAY_MILLIS <= _NEAR_MIDNIGHT).all())


def _hours_there(window: Window, chart: Chart) -> npt.NDArray[np.bool_]:
    """Return, for each whole hour of a window, whether the chart has a price in it."""
    first, last = _hour(window.start), _hour(window.end)
    there = np.zeros(max(last - first, 0), np.bool_)
    if _has_hours(chart):
        hours = _times(chart) // _HOUR_MILLIS - first
        there[hours[(hours >= 0) & (hours < len(there))]] = True
    return there


def _hours_outside(
    window: Window, ranges: Sequence[tuple[datetime, datetime]]
) -> npt.NDArray[np.bool_]:
    """Return, for each whole hour of a window, whether it lies outside all of these ranges."""
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
