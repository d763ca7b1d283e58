"""The credits of a month: what is spent, what is left, and when the next month's come."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime

from models.postgres.database import Database
from models.upstream_pace import credits_taken


@dataclass(frozen=True, slots=True)
class Budget:
    """Credits of one UTC month, of which each answered call costs one. `monthly` None: no limit.

    `promised` are kept for the run that is under way.
    """

    monthly: int | None
    spent: int
    resets_at: datetime
    promised: int = 0

    @property
    def left(self) -> int | None:
        """What may still be spent: nothing where more was spent than there was. None: any."""
        taken = self.spent + self.promised
        return None if self.monthly is None else max(0, self.monthly - taken)

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
        """What a run has, which is the only one: what one says that died is promised to nobody."""
        return replace(await self.budget_beside_runs(), promised=0)

    async def budget_beside_runs(self) -> Budget:
        """What others have: a run that began because it would fit is to fit until it ends."""
        month = month_of(self._clock())
        spent, promised = await credits_taken(self._database, month)
        return Budget(self._monthly, spent, next_month(month), promised)


def month_of(now: datetime) -> date:
    """Name the first day of the UTC month of a moment."""
    return now.astimezone(UTC).date().replace(day=1)


def next_month(month: date) -> datetime:
    year, number = divmod(month.year * 12 + month.month, 12)  # months count from 0 here
    return datetime(year, number + 1, 1, tzinfo=UTC)
