"""Computes which history the settings require. Pure: queries and refreshes share this rule."""

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from functools import cached_property

DAILY_HISTORY = timedelta(days=365)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
# Upstream rejects a whole window that starts too early; clocks differ, and calls take time.
_MARGIN = timedelta(minutes=10)


@dataclass(frozen=True)
class TrackingScope:
    """The coins, currencies and history that refreshes maintain.

    `offered` is how much history upstream's API plan offers, None for no limit.
    """

    coins: tuple[str, ...]
    currencies: tuple[str, ...]
    history_days: int
    offered: timedelta | None

    def tracks(self, coin_id: str, currency_code: str) -> bool:
        """Return True if refreshes request this series."""
        return coin_id in self.coin_ids and currency_code in self.currency_codes

    def hours_from(self, now: datetime) -> datetime:
        """Return the first hour that refreshes request at `now`."""
        return history_start(now, self.history_days, offered_from(now, self.offered))

    def days_from(self, now: datetime) -> datetime:
        """Return the first midnight whose day refreshes request at `now`.

        The daily history covers DAILY_HISTORY, or the hourly history if that is longer.
        """
        days = max(DAILY_HISTORY.days, self.history_days)
        return first_midnight(history_start(now, days, offered_from(now, self.offered)))

    @cached_property
    def coin_ids(self) -> frozenset[str]:
        """The ids of the tracked coins."""
        return frozenset(self.coins)

    @cached_property
    def currency_codes(self) -> frozenset[str]:
        """The codes of the tracked currencies."""
        return frozenset(self.currencies)


def history_start(now: datetime, days: int, offered: datetime | None) -> datetime:
    """Return the first hour of a history of `days` days, no earlier than `offered`."""
    start = floor_hour(now - timedelta(days=days))
    return max(start, offered or start)


def offered_from(now: datetime, history: timedelta | None) -> datetime | None:
    """Return the first hour that an API plan will offer for at least _MARGIN. None for no limit."""
    return None if history is None else floor_hour(now - history + _MARGIN) + HOUR


def floor_hour(instant: datetime) -> datetime:
    """Return the start of the hour that contains `instant`."""
    return instant.replace(minute=0, second=0, microsecond=0)


def floor_day(instant: datetime) -> datetime:
    """Return the last midnight at or before `instant`, in its own time zone."""
    return datetime.combine(instant, time.min, instant.tzinfo)


def first_midnight(instant: datetime) -> datetime:
    """Return the first midnight at or after `instant`."""
    return floor_day(instant + DAY - timedelta.resolution)
