"""Decides which windows of which series a refresh requests. Pure: no clock, no I/O."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from ingestion.planning.gaps import Gap
from models.history import (
    DAILY_HISTORY,
    HOUR,
    first_midnight,
    floor_hour,
    history_start,
)

# CoinGecko returns hours for 2 to 90 days. A shorter range can be empty, a longer one has days.
LONGEST_CHART = timedelta(days=89)
SHORTEST_WINDOW = timedelta(days=2)


class Reason(StrEnum):
    """Why a series is requested."""

    FIRST_LOAD = "FIRST_LOAD"
    ROUTINE = "ROUTINE"
    GAP = "GAP"
    BACKFILL = "BACKFILL"
    REQUESTED = "REQUESTED"
    REBUILD = "REBUILD"


@dataclass(frozen=True, slots=True)
class Window:
    """The range of one call. `start` is on the hour, so that its first hour is complete."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class SeriesState:
    """What is known of a series before a refresh.

    `history_from` is the start of its hourly history, `last_bucket` the newest hour that came from
    a chart: later hours are provisional, from live prices. `missing_hours` and `missing_days` are
    the gaps to request now, in ascending order. `confirmed_gaps` are hours that upstream has
    confirmed to lack; `days_begin` is the confirmed start of the daily history, None if it is not
    confirmed. `never_priced` is True if the series was requested before and never had a price;
    `deferral` then says why it is not requested now, None if it is.
    """

    series_id: int
    coin_id: str
    currency_code: str
    history_from: datetime | None
    last_bucket: datetime | None
    missing_days: tuple[Gap, ...] = ()
    missing_hours: tuple[Gap, ...] = ()
    confirmed_gaps: tuple[Gap, ...] = ()
    days_begin: datetime | None = None
    never_priced: bool = False
    deferral: str | None = None


@dataclass(frozen=True, slots=True)
class SeriesPlan:
    """The calls for one series: windows of hours, newest first, and one window of daily points.

    `rest` holds older windows that are requested only if the others return prices.
    """

    state: SeriesState
    reason: Reason
    windows: tuple[Window, ...]
    daily: Window | None = None
    rest: tuple[Window, ...] = ()

    @property
    def start(self) -> datetime:
        """The start of the oldest window of hours."""
        return min(window.start for window in self.windows)

    @property
    def calls(self) -> int:
        """The number of calls, without `rest`."""
        return len(self.windows) + (self.daily is not None)


def plan_refresh(
    states: Sequence[SeriesState],
    now: datetime,
    *,
    currencies: Sequence[str],
    start: datetime,
    offered: datetime | None = None,
    requested: bool = False,
    rebuild: bool = False,
) -> list[SeriesPlan]:
    """Plan the calls of a refresh, one SeriesPlan per state.

    Plans are ordered by `currencies`: all coins in the first currency come first, so that a new
    deployment soon shows every coin. The hourly history is to start at `start`; upstream offers
    none before `offered`. With `requested`, everything from `start` on is fetched instead of what
    is missing, and more if a gap would remain after the last known hour. With `rebuild`, everything
    is fetched, to replace what is stored.
    """
    rank = {code: number for number, code in enumerate(currencies)}
    ordered = sorted(states, key=lambda state: rank.get(state.currency_code, len(rank)))
    plans = []
    for state in ordered:
        if rebuild or requested:
            whole = min(start, state.last_bucket or start)
            reason = Reason.REBUILD if rebuild else Reason.REQUESTED
            windows = windows_over([(max(whole, offered or whole), now)], now)
        else:
            reason, windows = _missing(state, now, offered)
        rest: tuple[Window, ...] = ()
        if state.never_priced and not (rebuild or requested):
            # one call for the newest hours and one for days show whether there are any prices
            windows, rest = windows[:1], windows[1:]
        daily = None if requested else _daily(state, windows, now, offered, rebuild=rebuild)
        if state.deferral is not None:
            windows, daily, rest = (), None, ()
        plans.append(SeriesPlan(state, reason, windows, daily, rest))
    return plans


def _missing(
    state: SeriesState, now: datetime, offered: datetime | None
) -> tuple[Reason, tuple[Window, ...]]:
    """Cover the last two days, which upstream may have corrected, and what is missing earlier."""
    recent = floor_hour(now - SHORTEST_WINDOW)
    gaps = [(max(first, offered or first), end) for first, end in state.missing_hours]
    gaps = [(first, min(end, recent)) for first, end in gaps if first < min(end, recent)]
    # the newest hour was incomplete when it was requested: it may hold only a "now" point
    gaps = [(_with(state.last_bucket, first), end) for first, end in gaps]
    if state.history_from is None or state.last_bucket is None:
        reason = Reason.FIRST_LOAD
    elif not (missing := [*gaps, *state.missing_days]):
        reason = Reason.ROUTINE
    else:
        older = min(missing)[0] < state.history_from
        reason = Reason.BACKFILL if older else Reason.GAP
    return reason, windows_over([*gaps, (recent, now)], now)


def _with(hour: datetime | None, first: datetime) -> datetime:
    """Return `first`, or the hour before it if that is `hour`."""
    return first - HOUR if first - HOUR == hour else first


def _daily(
    state: SeriesState,
    windows: Sequence[Window],
    now: datetime,
    offered: datetime | None,
    *,
    rebuild: bool,
) -> Window | None:
    """Return the window of daily points for days that the hours of `windows` do not cover."""
    start = history_start(now, DAILY_HISTORY.days, offered)
    midnight = first_midnight(start)
    if rebuild:
        kept_from = min(windows[-1].start, state.history_from or now)
        return Window(start, now) if midnight < kept_from else None
    missing = ((max(first, midnight), end) for first, end in state.missing_days if end > midnight)
    if all(_within(first, end, windows) for first, end in missing):
        return None
    return Window(start, now)


def _within(first: datetime, end: datetime, windows: Sequence[Window]) -> bool:
    """Return True if adjacent windows together contain [first, end)."""
    reached = None
    for window in reversed(windows):  # the oldest first
        if reached is None or window.start > reached:
            start = window.start
        reached = window.end
        if start <= first and end <= reached:
            return True
    return False


def windows_over(ranges: Iterable[Gap], now: datetime) -> tuple[Window, ...]:
    """Cover these ranges with the fewest windows that upstream answers in hours, newest first.

    A window may extend beyond its ranges, because a short window can come back empty.
    """
    left = sorted(ranges, reverse=True)
    windows = []
    while left:
        end = left[0][1]
        earliest = floor_hour(end - LONGEST_CHART + HOUR - timedelta.resolution)
        start = min(max(first, earliest) for first, stop in left if stop > earliest)
        left = [(first, min(stop, start)) for first, stop in left if first < start]
        end = min(max(end, start + SHORTEST_WINDOW), now)
        windows.append(Window(min(start, floor_hour(end - SHORTEST_WINDOW)), end))
    return tuple(windows)
