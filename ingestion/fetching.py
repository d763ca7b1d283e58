"""Calls for series, and which of them were answered."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import takewhile

import numpy as np
import structlog

from ingestion.buckets import daily_points
from ingestion.coingecko import CoinGecko
from ingestion.errors import HistoryTooLong, UpstreamError
from ingestion.planner import SeriesPlan, Window, offered_from
from ingestion.samples import CallStats, Chart, Dropped
from models.gaps import SETTLED, Asked
from models.hours import Hours, instant

log = structlog.get_logger("coingraph.refresh")

_NEARLY_WHOLE = 0.9  # of its hours; CoinGecko lacks one of a hundred
_HOUR_MILLIS = 3_600_000


@dataclass(frozen=True, slots=True)
class Fetched:
    """The windows of a series that were answered, the newest first, and those that were not."""

    answered: Sequence[tuple[Window, Chart]]
    refused: Sequence[Window] = ()

    @property
    def charts(self) -> list[Chart]:
        return [chart for _, chart in self.answered]

    @property
    def start(self) -> datetime:
        return min(window.start for window, _ in self.answered)

    @property
    def asked(self) -> list[Asked]:
        """What this tells of hours that did not come.

        An answer that lacks more than a few of its hours may be a passing fault. In one that is
        nearly whole, only what comes after the last of the newest window may still follow.
        """
        asked = [Asked(window.start, window.end) for window in self.refused]
        for number, (window, chart) in enumerate(self.answered):
            times = chart.prices.times[np.isfinite(chart.prices.values)]
            hours = len(np.unique(times // _HOUR_MILLIS))
            if hours > _NEARLY_WHOLE * (window.end - window.start) / timedelta(hours=1):
                last = instant(int(times.max()) * 1000)
                sure = window.end if number else min(last, window.end)
                asked.append(Asked(window.start, sure, SETTLED))
            asked.append(Asked(window.start, window.end))
        return asked

    @property
    def known_from(self) -> datetime:
        """Since when hours are known: not in empty windows that are older than all others.

        There, the days are better than nothing.
        """
        full = [window.start for window, chart in self.answered if _has_prices(chart)]
        return min(full) if full else self.start

    @property
    def full_from(self) -> datetime | None:
        """Since when every window brought prices, None where the newest has none."""
        full = list(takewhile(lambda each: _has_prices(each[1]), self.answered))
        return full[-1][0].start if full else None


class Fetcher:
    """Makes the calls of one run for series. `dropped` counts what was dropped of their days."""

    def __init__(self, upstream: CoinGecko) -> None:
        self._upstream = upstream
        self.dropped: dict[int, Dropped] = {}

    async def hours(self, plan: SeriesPlan, stats: CallStats) -> Fetched:
        """Fetch the windows of a series, the newest first, as far back as the API's plan offers."""
        answered: list[tuple[Window, Chart]] = []
        for number, window in enumerate(plan.windows):
            # The newest window reaches to the moment of its call, not to that of the plan.
            now = datetime.now(UTC)
            asked = self._offered(window, now, end=window.end if answered else now)
            try:
                chart = await self._chart(plan, asked, stats)
            except HistoryTooLong as error:
                if not answered:
                    raise
                log.warning("history ends", **_name(plan), error=str(error))
                return Fetched(answered, plan.windows[number:])
            answered.append((asked, chart))
        return Fetched(answered)

    async def daily(self, plan: SeriesPlan, window: Window, stats: CallStats) -> Hours:
        """Fetch the daily points of a series; none where the API's plan does not offer them.

        Raises UpstreamError, also for an answer without prices: it may be a passing fault.
        """
        now = datetime.now(UTC)
        asked = self._offered(window, now, end=now)
        try:
            chart = await self._chart(plan, asked, stats)
        except HistoryTooLong as error:
            log.warning("daily history refused", **_name(plan), error=str(error))
            return daily_points([], asked.start, asked.end)
        self.dropped[plan.state.series_id] = chart.dropped
        if not _has_prices(chart):
            raise UpstreamError("CoinGecko sent no days.")
        return daily_points([chart], asked.start, asked.end)

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


def _name(plan: SeriesPlan) -> dict[str, str]:
    return {"coin": plan.state.coin_id, "currency": plan.state.currency_code}
