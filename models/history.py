"""Which history the settings ask for. Pure: answers and refreshes apply the same rule."""

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from functools import cached_property

DAILY_HISTORY = timedelta(days=365)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
# A refusal for asking too far back costs the whole window: clocks differ, and calls take time.
_MARGIN = timedelta(minutes=10)


@dataclass(frozen=True)
class TrackingScope:
    """What is to be kept. `offered` is how much history upstream offers, None: without limit."""

    coins: tuple[str, ...]
    currencies: tuple[str, ...]
    history_days: int
    offered: timedelta | None

    def tracks(self, coin_id: str, currency_code: str) -> bool:
        """Return True if refreshes ask for this series."""
        return coin_id in self.coin_ids and currency_code in self.currency_codes

    def hours_from(self, now: datetime) -> datetime:
        """Return the first hour that refreshes ask for at `now`."""
        return history_start(now, self.history_days, offered_from(now, self.offered))

    def days_from(self, now: datetime) -> datetime:
        """Return the first midnight whose day refreshes ask for at `now`: a year, or the hours."""
        days = max(DAILY_HISTORY.days, self.history_days)
        return first_midnight(history_start(now, days, offered_from(now, self.offered)))

    @cached_property
    def coin_ids(self) -> frozenset[str]:
        return frozenset(self.coins)

    @cached_property
    def currency_codes(self) -> frozenset[str]:
        return frozenset(self.currencies)


def history_start(now: datetime, days: int, offered: datetime | None) -> datetime:
    """Return where a history of so many days starts, no earlier than upstream offers."""
    start = floor_hour(now - timedelta(days=days))
    return max(start, offered or start)


def offered_from(now: datetime, history: timedelta | None) -> datetime | None:
    """Return the first hour that a plan of the API offers, and will for a while. None: any."""
    return None if history is None else floor_hour(now - history + _MARGIN) + HOUR


def floor_hour(instant: datetime) -> datetime:
    return instant.replace(minute=0, second=0, microsecond=0)


def floor_day(instant: datetime) -> datetime:
    return datetime.combine(instant, time.min, instant.tzinfo)


def first_midnight(instant: datetime) -> datetime:
    """Return the first midnight at or after `instant`."""
    return floor_day(instant + DAY - timedelta.resolution)
