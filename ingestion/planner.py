"""Which windows of which series a refresh asks for. Pure: no clock, no network, no database."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from enum import StrEnum

from ingestion.holes import Hole

# CoinGecko answers 2 to 90 days with hours. Less can come back empty, more comes as days.
LONGEST_WINDOW = timedelta(days=89)
SHORTEST_WINDOW = timedelta(days=2)
DAILY_HISTORY = timedelta(days=365)
# A refusal for asking too far back costs the whole window: clocks differ, and calls take time.
_MARGIN = timedelta(minutes=10)
_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)


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
    """What is known of a series before a refresh. `holes` are worth asking for, oldest first.

    `last_bucket` is the newest hour that a chart gave: live prices only stand in for later ones.
    """

    series_id: int
    coin_id: str
    currency_code: str
    history_from: datetime | None
    last_bucket: datetime | None
    daily_from: datetime | None = None
    holes: tuple[Hole, ...] = ()


@dataclass(frozen=True, slots=True)
class SeriesPlan:
    """The calls for one series: windows of hours, the newest first, and one for daily points."""

    state: SeriesState
    reason: Reason
    windows: tuple[Window, ...]
    daily: Window | None = None

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
        wanted = not requested and (rebuild or state.daily_from is None)
        daily = _daily(state, windows[-1].start, now, offered) if wanted else None
        plans.append(SeriesPlan(state, reason, windows, daily))
    return plans


def _missing(
    state: SeriesState, now: datetime, offered: datetime | None
) -> tuple[Reason, tuple[Window, ...]]:
    """Cover the last two days, which upstream may have corrected, and what is missing before."""
    recent = floor_hour(now - SHORTEST_WINDOW)
    holes = [(max(first, offered or first), end) for first, end in state.holes]
    holes = [(first, min(end, recent)) for first, end in holes if first < min(end, recent)]
    # the newest hour was running when it was asked for: it may only have had a "now" point
    holes = [(_with(state.last_bucket, first), end) for first, end in holes]
    if state.history_from is None or state.last_bucket is None:
        reason = Reason.FIRST_LOAD
    elif not holes:
        reason = Reason.ROUTINE
    else:
        reason = Reason.BACKFILL if holes[0][0] < state.history_from else Reason.GAP
    return reason, windows_over([*holes, (recent, now)], now)


def _with(hour: datetime | None, first: datetime) -> datetime:
    """Begin an hour earlier where that is this hour."""
    return first - _HOUR if first - _HOUR == hour else first


def _daily(
    state: SeriesState, asked_from: datetime, now: datetime, offered: datetime | None
) -> Window | None:
    """Ask for the days before the hourly history, if there are any, in one range of days."""
    start = history_start(now, DAILY_HISTORY.days, offered)
    midnight = datetime.combine(start + _DAY - timedelta.resolution, time.min, start.tzinfo)
    history_from = min(asked_from, state.history_from or asked_from)
    return Window(start, now) if midnight < history_from else None


def windows_over(ranges: Iterable[Hole], now: datetime) -> tuple[Window, ...]:
    """Cover these ranges with the fewest windows that are answered in hours, the newest first.

    A window may reach past its share, because a short range can come back empty.
    """
    left = sorted(ranges, reverse=True)
    windows = []
    while left:
        end = left[0][1]
        earliest = floor_hour(end - LONGEST_WINDOW + _HOUR - timedelta.resolution)
        start = min(max(first, earliest) for first, stop in left if stop > earliest)
        left = [(first, min(stop, start)) for first, stop in left if first < start]
        end = min(max(end, start + SHORTEST_WINDOW), now)
        windows.append(Window(min(start, floor_hour(end - SHORTEST_WINDOW)), end))
    return tuple(windows)


def history_start(now: datetime, days: int, offered: datetime | None) -> datetime:
    """Tell where a history of so many days starts, no earlier than upstream offers."""
    start = floor_hour(now - timedelta(days=days))
    return max(start, offered or start)


def offered_from(now: datetime, history: timedelta | None) -> datetime | None:
    """Name the first hour that a plan of the API offers, and will for a while. None: any."""
    return None if history is None else floor_hour(now - history + _MARGIN) + _HOUR


def floor_hour(instant: datetime) -> datetime:
    return instant.replace(minute=0, second=0, microsecond=0)
