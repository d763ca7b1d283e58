"""Where the pace is kept: in this process, or in PostgreSQL for all processes."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Protocol

from ingestion.quota.credits import month_of
from ingestion.quota.pace import RECOVERY, Pace
from models import upstream_pace as stored
from models.postgres.database import Database, DatabaseUnavailableError


class PaceStore(Protocol):
    """Hands out departures, one at a time. `pace` is what is known of it, on a local clock."""

    pace: Pace

    async def reserve(self) -> float:
        """Reserve the next departure; the seconds until then."""
        ...

    async def look(self) -> None:
        """See what others have made of the pace."""
        ...

    async def rate_limited(
        self, retry_after: float | None, *, departed: int | None, luck: float
    ) -> float:
        """As `Pace.rate_limited`."""
        ...

    def succeeded(self, *, departed: int | None) -> None:
        """As `Pace.succeeded`."""
        ...

    def charged(self) -> None:
        """A call was answered with a 200, which costs a credit."""
        ...

    async def report(self) -> None:
        """Tell of what was answered now, and not with the next reservation."""
        ...


class LocalPaceStore:
    """The pace of one process that is alone. Nobody counts its credits."""

    def __init__(self, pace: Pace, clock: Callable[[], float]) -> None:
        self.pace = pace
        self._clock = clock

    async def reserve(self) -> float:
        return self.pace.depart(self._clock())

    async def look(self) -> None:
        pass

    async def rate_limited(
        self, retry_after: float | None, *, departed: int | None, luck: float
    ) -> float:
        return self.pace.rate_limited(self._clock(), retry_after, departed=departed, luck=luck)

    def succeeded(self, *, departed: int | None) -> None:
        self.pace.succeeded(departed=departed)

    def charged(self) -> None:
        pass

    async def report(self) -> None:
        pass


class SharedPaceStore:
    """The pace of all processes of one database. Raises DatabaseUnavailableError.

    Answers are told with the next reservation, so that a call costs one statement.
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
        answers = self._answers()
        try:
            row = await stored.reserve_departure(self._database, self.pace.base_interval, answers)
        except BaseException:  # also when cancelled: rather twice than not at all
            self._charged.update(answers.charged)
            raise
        self._know(row)
        return max(0.0, row.last_departure)

    async def look(self) -> None:
        self._know(await stored.present_pace(self._database))

    async def rate_limited(
        self, retry_after: float | None, *, departed: int | None, luck: float
    ) -> float:
        while True:
            before = await stored.present_pace(self._database)
            pace = Pace(
                self.pace.base_interval, self.pace.first_pause, self.pace.max_pause,
                before.stretch, before.last_departure, before.paused_until,
                before.slowdowns, before.refusals_in_a_row,
            )  # fmt: skip
            added = pace.rate_limited(0.0, retry_after, departed=departed, luck=luck)
            after = stored.StoredPace(
                pace.last_departure, pace.paused_until,
                pace.stretch, pace.slowdowns, pace.refusals_in_a_row,
            )  # fmt: skip
            if row := await stored.slow_down(self._database, before, after):
                self._know(row)
                return added

    def succeeded(self, *, departed: int | None) -> None:
        departed = self.pace.slowdowns if departed is None else departed
        self.pace.succeeded(departed=departed)
        self._succeeded[departed] += 1

    def charged(self) -> None:
        self._charged[self._month()] += 1

    async def report(self) -> None:
        if not self._charged and not self._succeeded:
            return
        answers = self._answers()
        try:
            self._know(await stored.report_answers(self._database, answers))
        except BaseException as error:
            self._charged.update(answers.charged)
            if not isinstance(error, DatabaseUnavailableError):
                raise  # else the next reservation tells, or says that the database is away

    def _answers(self) -> stored.CallReport:
        """Take what is to be told. Of the calls that succeeded only the last to leave count."""
        departed = max(self._succeeded, default=0)
        answers = stored.CallReport(
            dict(self._charged), departed, self._succeeded[departed], RECOVERY
        )
        self._charged.clear()
        self._succeeded.clear()
        return answers

    def _know(self, row: stored.StoredPace) -> None:
        now, pace = self._clock(), self.pace
        pace.last_departure = now + row.last_departure
        pace.paused_until = now + row.paused_until if row.paused_until > 0 else pace.paused_until
        pace.stretch, pace.slowdowns = row.stretch, row.slowdowns
        pace.refusals_in_a_row = row.refusals_in_a_row
