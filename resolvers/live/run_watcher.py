"""Watching a run as it goes, from whichever process: one watch for all of a process who look on."""

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

# So often a watched run is looked at without having been told of it: its process may be dead, and
# nobody tells of changes while the connection that hears of them is lost.
LOOK_SECONDS = 2.0

Items = list[tuple[RefreshRunItem, Series]]


@dataclass(slots=True, eq=False)
class RunState:
    """A run as it was at one moment, the same object for all who watch it.

    `shown` is for what the schema makes of it, once.
    """

    run: RefreshRun
    seen_at: datetime
    shown: Any = None
    _items: Items | None = None
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def ended(self) -> bool:
        return self.run.status != RefreshStatus.RUNNING

    async def items(self, database: Database) -> Items:
        """Read what becomes of each series, once for all who ask; as it is by then."""
        async with self._reading:
            if self._items is None:
                async with database.read() as session:
                    found = await run_rows.items_of_runs(session, [self.run.id])
                self._items = found[self.run.id]
        return self._items


class _Watch:
    """One run, and who looks on. They take the newest state, and none is kept for the slow."""

    def __init__(self) -> None:
        self.onlookers = 0
        self.changed = asyncio.Event()
        self.state: RunState | None = None
        self.task: asyncio.Task[None]
        self._failure: Exception | None = None
        self._news = asyncio.Event()

    def show(self, run: RefreshRun) -> None:
        """Make this the newest state, if it is a new one."""
        if self.state is None or run.model_dump() != self.state.run.model_dump():
            self.state = RunState(run, datetime.now(UTC))
            self._tell()

    def fail(self, error: Exception) -> None:
        self.state, self._failure = None, error
        self._tell()

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def newer(self, seen: RunState | None) -> RunState:
        """Return the newest state once it is another one than `seen`. Raises what ended it."""
        while self.state is None or self.state is seen:
            if self._failure is not None:
                raise self._failure
            await self._news.wait()
        return self.state


class RunWatcher:
    """Watches those runs that somebody looks on; hears of changes as an audience of the listener.

    `mark_interrupted_runs` marks runs INTERRUPTED whose process is gone.
    """

    def __init__(
        self, database: Database, mark_interrupted_runs: Callable[[], Awaitable[object]]
    ) -> None:
        self._database = database
        self._mark_interrupted_runs = mark_interrupted_runs
        self._watches: dict[UUID, _Watch] = {}

    @property
    def watched(self) -> int:
        """How many runs somebody looks on."""
        return len(self._watches)

    async def follow(self, run_id: UUID) -> AsyncGenerator[RunState, None]:
        """Give the run as it is, then each newer state, skipping what came too fast; its end last.

        Raises NotFoundError, and DatabaseUnavailableError where it cannot be read to begin with.
        """
        watch = self._watches.get(run_id) or self._begin(run_id)
        watch.onlookers += 1
        try:
            state = await watch.newer(None)
            yield state
            while not state.ended:
                state = await watch.newer(state)
                yield state
        finally:
            watch.onlookers -= 1
            if not watch.onlookers:
                self._end(run_id, watch)

    def series_changed(self, series_id: int, revision: int) -> None:
        """Runs are told of by themselves."""

    def catalogue_changed(self) -> None:
        """No run has changed with it."""

    def run_changed(self, run_id: str) -> None:
        for watched, watch in self._watches.items():  # one, as a rule
            if str(watched) == run_id:
                watch.changed.set()

    def anything_changed(self) -> None:
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
        """Look at the run whenever it has changed, or may have, until it ends."""
        told = True
        try:
            while not await self._look(run_id, watch, told=told):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_SECONDS):
                        await watch.changed.wait()
                told = watch.changed.is_set()
        except Exception as error:  # noqa: BLE001 - those who look on are told
            if self._watches.get(run_id) is watch:  # whoever comes later begins another one
                del self._watches[run_id]
            watch.fail(error)

    async def _look(self, run_id: UUID, watch: _Watch, *, told: bool) -> bool:
        """Show the run as it is now; whether it has ended."""
        watch.changed.clear()
        try:
            async with self._database.read() as session:
                run = (await run_rows.runs_by_id(session, [run_id])).get(run_id)
                dead = not told and not await run_rows.is_alive(session, run_id)
        except DatabaseUnavailableError:
            if watch.state is None:
                raise
            return False  # what is shown stands until the database is back
        if run is None:
            raise no_such_run(run_id)
        watch.show(run)
        if dead and run.status == RefreshStatus.RUNNING:
            await self._mark_interrupted_runs()
        return run.status != RefreshStatus.RUNNING
