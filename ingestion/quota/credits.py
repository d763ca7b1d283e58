"""The monthly credits: how many are spent and left, and when they reset."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime

from models.postgres.database import Database
from models.upstream_pace import credits_taken


@dataclass(frozen=True, slots=True)
class Budget:
    """The credits of one UTC month; each call answered with 200 costs one.

    `monthly` is the limit, None for no limit. `promised` credits are reserved for the run in
    progress. `resets_at` is the start of the next month.
    """

    monthly: int | None
    spent: int
    resets_at: datetime
    promised: int = 0

    @property
    def left(self) -> int | None:
        """The credits that may still be spent, at least 0; None if there is no limit."""
        taken = self.spent + self.promised
        return None if self.monthly is None else max(0, self.monthly - taken)

    def allows(self, calls: int) -> bool:
        """Return True if the credits left cover this number of calls."""
        return self.left is None or calls <= self.left


class Credits:
    """Reads the budget from the database, without calls in flight or just answered."""

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
        """Return the budget of a new run: without reservations, which only a dead run can hold."""
        return replace(await self.budget_outside_runs(), promised=0)

    async def budget_outside_runs(self) -> Budget:
        """Return the budget of other calls, without what the run in progress still needs."""
        month = month_of(self._clock())
        spent, promised = await credits_taken(self._database, month)
        return Budget(self._monthly, spent, next_month(month), promised)


def month_of(now: datetime) -> date:
    """Return the first day of the UTC month that contains `now`."""
    return now.astimezone(UTC).date().replace(day=1)


def next_month(month: date) -> datetime:
    """Return the start of the month after the one that begins on `month`, in UTC."""
    year, number = divmod(month.year * 12 + month.month, 12)  # months count from 0 here
    return datetime(year, number + 1, 1, tzinfo=UTC)
