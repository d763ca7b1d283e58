"""Follows refresh runs of any process: one database watch per run for all followers here."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from models import runs as run_rows
from models.postgres.database import Database, DatabaseUnavailableError
from models.tables import RefreshRun, RefreshRunItem, RefreshStatus, Series
from resolvers.runs import no_such_run

# Interval in seconds at which a watched run is read without a notification: its process may have
# died, and no notifications arrive while the listener's connection is lost.
LOOK_SECONDS = 2.0

Items = list[tuple[RefreshRunItem, Series]]


@dataclass(slots=True, eq=False)
class RunState:
    """A run at one moment. All followers share the object.

    `shown` holds what the schema layer builds from it, once.
    """

    run: RefreshRun
    seen_at: datetime
    shown: Any = None
    _items: Items | None = None
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def ended(self) -> bool:
        """True if the run is no longer in progress."""
        return self.run.status != RefreshStatus.RUNNING

    async def items(self, database: Database) -> Items:
        """Read the result of each series once, when first requested, for all followers."""
        async with self._reading:
            if self._items is None:
                async with database.read() as session:
                    found = await run_rows.items_of_runs(session, [self.run.id])
                self._items = found[self.run.id]
        return self._items


class _Watch:
    """One run and the number of its followers.

    Followers take the newest state; intermediate states are dropped.
    """

    def __init__(self) -> None:
        self.followers = 0
        self.changed = asyncio.Event()
        self.state: RunState | None = None
        self.task: asyncio.Task[None]
        self._failure: Exception | None = None
        self._news = asyncio.Event()

    def show(self, run: RefreshRun) -> None:
        """Publish `run` as the newest state if it differs from the last one."""
        if self.state is None or run.model_dump() != self.state.run.model_dump():
            self.state = RunState(run, datetime.now(UTC))
            self._notify()

    def fail(self, error: Exception) -> None:
        """End the watch with an error for all followers."""
        self.state, self._failure = None, error
        self._notify()

    def _notify(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def newer(self, seen: RunState | None) -> RunState:
        """Wait for a state other than `seen`. Raises the error that ended the watch."""
        while self.state is None or self.state is seen:
            if self._failure is not None:
                raise self._failure
            await self._news.wait()
        return self.state


class RunWatcher:
    """Watches the runs that have followers. Receives the listener's notifications.

    `mark_interrupted_runs` marks runs as INTERRUPTED whose process has died.
    """

    def __init__(
        self, database: Database, mark_interrupted_runs: Callable[[], Awaitable[object]]
    ) -> None:
        self._database = database
        self._mark_interrupted_runs = mark_interrupted_runs
        self._watches: dict[UUID, _Watch] = {}

    @property
    def watched(self) -> int:
        """The number of runs with followers."""
        return len(self._watches)

    async def follow(self, run_id: UUID) -> AsyncGenerator[RunState, None]:
        """Yield the current state of the run, then each newer state, last its final one.

        Skips intermediate states if the consumer is slow. Raises NotFoundError, and
        DatabaseUnavailableError if the first read fails.
        """
        watch = self._watches.get(run_id) or self._begin(run_id)
        watch.followers += 1
        try:
            state = await watch.newer(None)
            yield state
            while not state.ended:
                state = await watch.newer(state)
                yield state
        finally:
            watch.followers -= 1
            if not watch.followers:
                self._end(run_id, watch)

    def series_changed(self, series_id: int, revision: int) -> None:
        """Ignore it: runs have notifications of their own."""

    def catalogue_changed(self) -> None:
        """Ignore it: it does not change a run."""

    def run_changed(self, run_id: str) -> None:
        """Handle a notification: read the run again if it is watched."""
        for watched, watch in self._watches.items():  # rarely more than one
            if str(watched) == run_id:
                watch.changed.set()

    def anything_changed(self) -> None:
        """Handle a lost connection: read all watched runs again."""
        for watch in self._watches.values():
            watch.changed.set()

    def _begin(self, run_id: UUID) -> _Watch:
        watch = self._watches[run_id] = _Watch()
        watch.task = asyncio.create_task(self._watch(run_id, watch))
        return watch

    def _end(self, run_id: UUID, watch: _Watch) -> None:
        watch.task.cancel()
        if self._watches.get(run_id) is watch:
            del self._watches[run_id]

    async def _watch(self, run_id: UUID, watch: _Watch) -> None:
        """Read the run after each notification, and every LOOK_SECONDS, until it ends."""
        notified = True
        try:
            while not await self._look(run_id, watch, notified=notified):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_SECONDS):
                        await watch.changed.wait()
                notified = watch.changed.is_set()
        except Exception as error:  # noqa: BLE001 - raised to the followers
            if self._watches.get(run_id) is watch:  # a later follower starts a new watch
                del self._watches[run_id]
            watch.fail(error)

    async def _look(self, run_id: UUID, watch: _Watch, *, notified: bool) -> bool:
        """Read and publish the run. Return True if it has ended."""
        watch.changed.clear()
        try:
            async with self._database.read() as session:
                run = (await run_rows.runs_by_id(session, [run_id])).get(run_id)
                dead = not notified and not await run_rows.is_alive(session, run_id)
        except DatabaseUnavailableError:
            if watch.state is None:
                raise
            return False  # the last state remains until the database is back
        if run is None:
            raise no_such_run(run_id)
        watch.show(run)
        if dead and run.status == RefreshStatus.RUNNING:
            await self._mark_interrupted_runs()
        return run.status != RefreshStatus.RUNNING
