"""Which windows of which series a refresh asks for. Pure: no clock, no network, no database."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

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
    """What is known of a series before a refresh."""

    series_id: int
    coin_id: str
    currency_code: str
    history_from: datetime | None
    last_bucket: datetime | None


@dataclass(frozen=True, slots=True)
class SeriesPlan:
    """The calls for one series, the newest window first."""

    state: SeriesState
    reason: Reason
    windows: tuple[Window, ...]

    @property
    def start(self) -> datetime:
        return min(window.start for window in self.windows)


def plan_refresh(
    states: Sequence[SeriesState],
    now: datetime,
    *,
    history_days: int,
    currencies: Sequence[str],
    days: int | None = None,
    rebuild: bool = False,
) -> list[SeriesPlan]:
    """Plan a refresh of these series.

    `currencies` gives the order, its first one with every coin before the next: a new user sees
    all coins soon. `days` asks for so many days back instead of what is missing, and for more
    where that would leave a hole behind the last known hour.
    """
    rank = {code: number for number, code in enumerate(currencies)}
    ordered = sorted(states, key=lambda state: rank.get(state.currency_code, len(rank)))
    return [_plan_series(state, now, history_days, days, rebuild) for state in ordered]


def _plan_series(
    state: SeriesState, now: datetime, history_days: int, days: int | None, rebuild: bool
) -> SeriesPlan:
    start = floor_hour(now - timedelta(days=days or history_days))
    if rebuild or days is not None:
        start = min(start, state.last_bucket or start)
        reason = Reason.REBUILD if rebuild else Reason.REQUESTED
        return SeriesPlan(state, reason, windows_between(start, now))
    if state.history_from is None or state.last_bucket is None:
        return SeriesPlan(state, Reason.FIRST_LOAD, windows_between(start, now))
    recent = floor_hour(now - SHORTEST_WINDOW)
    reason = Reason.GAP if state.last_bucket < recent else Reason.ROUTINE
    windows = windows_between(min(recent, state.last_bucket), now)
    if start < state.history_from:
        reason = Reason.BACKFILL
        windows += windows_between(start, state.history_from)
    return SeriesPlan(state, reason, windows)


def windows_between(start: datetime, end: datetime) -> tuple[Window, ...]:
    """Cover [start, end] with windows that are answered in hours, the newest first.

    The oldest one may reach past its share, because a short range can come back empty.
    """
    windows = []
    while end - start > LONGEST_WINDOW:
        cut = floor_hour(end - LONGEST_WINDOW) + timedelta(hours=1)
        windows.append(Window(cut, end))
        end = cut
    oldest_end = max(end, start + SHORTEST_WINDOW)
    newest_end = windows[0].end if windows else end
    if oldest_end > newest_end:  # nothing is asked of the future: reach further back instead
        return (*windows, Window(floor_hour(newest_end - SHORTEST_WINDOW), newest_end))
    return (*windows, Window(start, oldest_end))


def floor_hour(instant: datetime) -> datetime:
    return instant.replace(minute=0, second=0, microsecond=0)
