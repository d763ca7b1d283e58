"""The cost of a run's calls, by series."""

from collections import defaultdict

from ingestion.coingecko.types import CallStats

Cost = dict[str, float]  # columns of models.tables.RefreshRunItem, or of RefreshRun


class CallCounters:
    """The call statistics of one run: one CallStats per series, and `others` for other calls."""

    def __init__(self) -> None:
        self.others = CallStats()
        self._by_series: defaultdict[int, CallStats] = defaultdict(CallStats)
        self._written: dict[int, int] = {}  # attempts
        self._summed: dict[int | None, CallStats] = {}
        self._total = CallStats()

    def of(self, series_id: int) -> CallStats:
        """Return the statistics that calls for this series add to."""
        return self._by_series[series_id]

    def item(self, series_id: int) -> Cost:
        """Return the cost of a series so far, and mark it as written."""
        spent = self._by_series[series_id]
        self._written[series_id] = spent.attempts
        return {
            "calls": spent.attempts,
            "retries": spent.retries,
            "seconds_waited": spent.paused_seconds,
        }

    def rewrite(self) -> None:
        """Mark all costs as not written, after a failed transaction."""
        self._written.clear()

    def unwritten(self) -> dict[int, Cost]:
        """Return the costs of the series whose costs have changed since they were written."""
        changed = [
            series_id
            for series_id, spent in self._by_series.items()
            if spent.attempts != self._written.get(series_id, 0)
        ]
        return {series_id: self.item(series_id) for series_id in changed}

    def run(self, *series_ids: int) -> Cost:
        """Return the cost of the run, updated with `others` and with these series.

        Other series count up to the last call of this method that named them: summing up all of
        them each time would take too long.
        """
        self._sum_up(None, self.others)
        for series_id in series_ids:
            self._sum_up(series_id, self._by_series[series_id])
        return {"retries": self._total.retries, "seconds_waited": self._total.paused_seconds}

    def _sum_up(self, whose: int | None, spent: CallStats) -> None:
        before = self._summed.get(whose, CallStats())
        self._total.retries += spent.retries - before.retries
        self._total.paused_seconds += spent.paused_seconds - before.paused_seconds
        self._summed[whose] = CallStats(retries=spent.retries, paused_seconds=spent.paused_seconds)
