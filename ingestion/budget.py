"""The credits of a month: what is spent, what is left, and when the next month's come."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime

from models.database import Database
from models.pace import credits_spent


@dataclass(frozen=True, slots=True)
class Budget:
    """Credits of one UTC month, of which each answered call costs one. `monthly` None: no limit."""

    monthly: int | None
    spent: int
    resets_at: datetime

    @property
    def left(self) -> int | None:
        """What may still be spent: nothing where more was spent than there was. None: any."""
        return None if self.monthly is None else max(0, self.monthly - self.spent)

    def allows(self, calls: int) -> bool:
        return self.left is None or calls <= self.left


class Credits:
    """Looks up what is left. Calls that are under way, or were answered just now, come later."""

    def __init__(
        self,
        database: Database,
        monthly: int | None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._monthly = monthly
        self._clock = clock

    async def budget(self) -> Budget:
        month = month_of(self._clock())
        spent = await credits_spent(self._database, month)
        return Budget(self._monthly, spent, next_month(month))


def month_of(now: datetime) -> date:
    """Name the first day of the UTC month of a moment."""
    return now.astimezone(UTC).date().replace(day=1)


def next_month(month: date) -> datetime:
    year, number = divmod(month.year * 12 + month.month, 12)  # months count from 0 here
    return datetime(year, number + 1, 1, tzinfo=UTC)
