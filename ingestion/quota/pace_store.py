"""Where the pace is stored: in this process, or in PostgreSQL for all processes."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Protocol

from ingestion.quota.credits import month_of
from ingestion.quota.pace import RECOVERY, Pace
from models import upstream_pace as stored
from models.postgres.database import Database, DatabaseUnavailableError


class PaceStore(Protocol):
    """Stores the pace and reserves departures. `pace` is the last known state, on a local clock."""

    pace: Pace

    async def reserve(self) -> float:
        """Reserve the next departure and return the seconds until then."""
        ...

    async def look(self) -> None:
        """Update `pace` with the changes of other processes."""
        ...

    async def rate_limited(
        self, retry_after: float | None, *, slowdown: int | None, luck: float
    ) -> float:
        """As `Pace.rate_limited`."""
        ...

    def succeeded(self, *, slowdown: int | None) -> None:
        """As `Pace.succeeded`."""
        ...

    def charged(self) -> None:
        """Record a response with status 200, which costs a credit."""
        ...

    async def report(self) -> None:
        """Store the recorded responses now instead of with the next reservation."""
        ...


class LocalPaceStore:
    """Stores the pace in this process. Does not count credits."""

    def __init__(self, pace: Pace, clock: Callable[[], float]) -> None:
        self.pace = pace
        self._clock = clock

    async def reserve(self) -> float:
        """As `PaceStore.reserve`."""
        return self.pace.depart(self._clock())

    async def look(self) -> None:
        """Do nothing: no other process shares the pace."""

    async def rate_limited(
        self, retry_after: float | None, *, slowdown: int | None, luck: float
    ) -> float:
        """As `Pace.rate_limited`."""
        return self.pace.rate_limited(self._clock(), retry_after, slowdown=slowdown, luck=luck)

    def succeeded(self, *, slowdown: int | None) -> None:
        """As `Pace.succeeded`."""
        self.pace.succeeded(slowdown=slowdown)

    def charged(self) -> None:
        """Do nothing: credits are not counted."""

    async def report(self) -> None:
        """Do nothing: everything is recorded at once."""


class SharedPaceStore:
    """Stores the pace in PostgreSQL, for all processes. Raises DatabaseUnavailableError.

    Responses are stored with the next reservation, so that a call costs one statement.
    """

    def __init__(
        self,
        database: Database,
        pace: Pace,
        clock: Callable[[], float],
        month: Callable[[], date] = lambda: month_of(datetime.now(UTC)),
    ) -> None:
        self.pace = pace
        self._database = database
        self._clock = clock
        self._month = month
        self._charged = Counter[date]()
        self._succeeded = Counter[int]()

    async def reserve(self) -> float:
        """As `PaceStore.reserve`, in one statement that also stores the recorded responses."""
        answers = self._take_report()
        try:
            row = await stored.reserve_departure(self._database, self.pace.base_interval, answers)
        except BaseException:  # also when cancelled: better to count twice than not at all
            self._charged.update(answers.charged)
            raise
        self._update(row)
        return max(0.0, row.last_departure)

    async def look(self) -> None:
        """As `PaceStore.look`."""
        self._update(await stored.present_pace(self._database))

    async def rate_limited(
        self, retry_after: float | None, *, slowdown: int | None, luck: float
    ) -> float:
        """As `Pace.rate_limited`; retried while other processes change the pace."""
        while True:
            before = await stored.present_pace(self._database)
            pace = Pace(
                self.pace.base_interval, self.pace.first_pause, self.pace.max_pause,
                before.stretch, before.last_departure, before.paused_until,
                before.slowdowns, before.refusals_in_a_row,
            )  # fmt: skip
            added = pace.rate_limited(0.0, retry_after, slowdown=slowdown, luck=luck)
            after = stored.StoredPace(
                pace.last_departure, pace.paused_until,
                pace.stretch, pace.slowdowns, pace.refusals_in_a_row,
            )  # fmt: skip
            if row := await stored.slow_down(self._database, before, after):
                self._update(row)
                return added

    def succeeded(self, *, slowdown: int | None) -> None:
        """As `Pace.succeeded`; stored with the next reservation."""
        slowdown = self.pace.slowdowns if slowdown is None else slowdown
        self.pace.succeeded(slowdown=slowdown)
        self._succeeded[slowdown] += 1

    def charged(self) -> None:
        """As `PaceStore.charged`; stored with the next reservation."""
        self._charged[self._month()] += 1

    async def report(self) -> None:
        """As `PaceStore.report`."""
        if not self._charged and not self._succeeded:
            return
        answers = self._take_report()
        try:
            self._update(await stored.report_answers(self._database, answers))
        except BaseException as error:
            self._charged.update(answers.charged)
            if not isinstance(error, DatabaseUnavailableError):
                raise  # otherwise the next reservation stores them, or raises

    def _take_report(self) -> stored.CallReport:
        """Take what is to be stored. Only successes since the latest slowdown count."""
        slowdown = max(self._succeeded, default=0)
        answers = stored.CallReport(
            dict(self._charged), slowdown, self._succeeded[slowdown], RECOVERY
        )
        self._charged.clear()
        self._succeeded.clear()
        return answers

    def _update(self, row: stored.StoredPace) -> None:
        now, pace = self._clock(), self.pace
        pace.last_departure = now + row.last_departure
        pace.paused_until = now + row.paused_until if row.paused_until > 0 else pace.paused_until
        pace.stretch, pace.slowdowns = row.stretch, row.slowdowns
        pace.refusals_in_a_row = row.refusals_in_a_row
