"""Which windows of which series a refresh asks for. Pure: no clock, no network, no database."""

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

# CoinGecko answers 2 to 90 days with hours. Less can come back empty, more comes as days.
LONGEST_WINDOW = timedelta(days=89)
SHORTEST_WINDOW = timedelta(days=2)


class Reason(StrEnum):
    """Why a series is asked for."""

    FIRST_LOAD = "FIRST_LOAD"
    ROUTINE = "ROUTINE"
    GAP = "GAP"
    BACKFILL = "BACKFILL"
    REQUESTED = "REQUESTED"
    REBUILD = "REBUILD"


@dataclass(frozen=True, slots=True)
class Window:
    """One call's range. `start` is on the hour, so that its first hour is seen whole."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class SeriesState:
    """What is known of a series before a refresh.

    `holes` are the missing hours and `missing_days` the missing days that are worth asking for now,
    both the oldest first. `last_bucket` is the newest hour that a chart gave: live prices only
    stand in for later ones. `shown` are hours that upstream has shown not to have; `days_begin` is
    where it has shown the days to begin, None where it has not. `absent`: upstream was asked
    before, and has never given a price. `held` says why such a series is not asked for now.
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
    """The calls for one series: windows of hours, the newest first, and one for daily points.

    `rest` are older windows that are asked for only where the others bring prices.
    """

    state: SeriesState
    reason: Reason
    windows: tuple[Window, ...]
    daily: Window | None = None
    rest: tuple[Window, ...] = ()

    @property
    def start(self) -> datetime:
        return min(window.start for window in self.windows)

    @property
    def calls(self) -> int:
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
    """Plan a refresh of these series.

    `currencies` gives the order, its first one with every coin before the next: a new user sees
    all coins soon. The hourly history is to reach back to `start`, upstream offers none before
    `offered`. `requested` asks for all of it from `start` on instead of what is missing, and for
    more where that would leave a hole behind the last known hour.
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
            # one call for the newest hours and one for the days see whether there is anything
            windows, rest = windows[:1], windows[1:]
        daily = None if requested else _daily(state, windows, now, offered, rebuild=rebuild)
        if state.deferral is not None:
            windows, daily, rest = (), None, ()
        plans.append(SeriesPlan(state, reason, windows, daily, rest))
    return plans


def _missing(
    state: SeriesState, now: datetime, offered: datetime | None
) -> tuple[Reason, tuple[Window, ...]]:
    """Cover the last two days, which upstream may have corrected, and what is missing before."""
    recent = floor_hour(now - SHORTEST_WINDOW)
    holes = [(max(first, offered or first), end) for first, end in state.missing_hours]
    holes = [(first, min(end, recent)) for first, end in holes if first < min(end, recent)]
    # the newest hour was running when it was asked for: it may only have had a "now" point
    holes = [(_with(state.last_bucket, first), end) for first, end in holes]
    if state.history_from is None or state.last_bucket is None:
        reason = Reason.FIRST_LOAD
    elif not (missing := [*holes, *state.missing_days]):
        reason = Reason.ROUTINE
    else:
        older = min(missing)[0] < state.history_from
        reason = Reason.BACKFILL if older else Reason.GAP
    return reason, windows_over([*holes, (recent, now)], now)


def _with(hour: datetime | None, first: datetime) -> datetime:
    """Begin an hour earlier where that is this hour."""
    return first - HOUR if first - HOUR == hour else first


def _daily(
    state: SeriesState,
    windows: Sequence[Window],
    now: datetime,
    offered: datetime | None,
    *,
    rebuild: bool,
) -> Window | None:
    """Ask for the days that the hours of these windows do not bring, in one range of days."""
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
    """Return True if windows that follow each other bring all of [first, end)."""
    reached = None
    for window in reversed(windows):  # the oldest first
        if reached is None or window.start > reached:
            start = window.start
        reached = window.end
        if start <= first and end <= reached:
            return True
    return False


def windows_over(ranges: Iterable[Gap], now: datetime) -> tuple[Window, ...]:
    """Cover these ranges with the fewest windows that are answered in hours, the newest first.

    A window may reach past its share, because a short range can come back empty.
    """
    left = sorted(ranges, reverse=True)
    windows = []
    while left:
        end = left[0][1]
        earliest = floor_hour(end - LONGEST_WINDOW + HOUR - timedelta.resolution)
        start = min(max(first, earliest) for first, stop in left if stop > earliest)
        left = [(first, min(stop, start)) for first, stop in left if first < start]
        end = min(max(end, start + SHORTEST_WINDOW), now)
        windows.append(Window(min(start, floor_hour(end - SHORTEST_WINDOW)), end))
    return tuple(windows)
