"""Price updates: one hub a process, which hears of changes, and its subscribers."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

import structlog

from models.postgres.connection import CONNECT_SECONDS
from models.postgres.database import Database
from models.postgres.notifications import Listener
from models.series import changed_prices, deployment_revision
from resolvers.errors import BadInputError, UnavailableError
from resolvers.live.newest_prices import EVERYTHING, Filter, NewestPrices, Update, UpdateKind
from resolvers.names import known_names

log = structlog.get_logger("coingraph.updates")

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 2.0


@dataclass(slots=True)
class _Place:
    """What a subscriber has seen: all that it takes to go on."""

    epoch: int
    revision: int


class PriceUpdates:
    """The newest price of each series, as one process has heard of it, and who follows it.

    An audience of the `listener`: what is told makes `run` read what changed, once for all that was
    told meanwhile. Nothing is read while nobody follows. A subscriber is no more than a place among
    the revisions: it is given the newest value of whatever changed since, when it asks, so nothing
    grows while it does not.
    """

    def __init__(self, database: Database, listener: Listener) -> None:
        self._database = database
        self._listener = listener
        self._newest = NewestPrices()
        self._told = EVERYTHING  # the highest revision that was heard of
        self._losses = 0  # how often nobody knew what had changed
        self._whole = False  # whether all prices were read since
        self._epoch = 0  # how often they were
        self._wanted = asyncio.Event()
        self._moved = asyncio.Event()  # set and replaced by another one when there is news
        self._closed = False
        self._subscribing = 0
        self.subscribers = 0

    @property
    def kept(self) -> int:
        """How many updates are kept for others at the same place."""
        return self._newest.kept

    def series_changed(self, _series_id: int, revision: int) -> None:
        self._told = max(self._told, revision)
        self._wanted.set()

    def catalogue_changed(self) -> None:
        """A series without a price is no news; its first price is."""

    def run_changed(self, _run_id: str) -> None:
        """Nor is a run: what it changes is told by itself."""

    def anything_changed(self) -> None:
        self._whole = False
        self._losses += 1
        self._told = EVERYTHING  # of another database, for all that is known
        self._wanted.set()

    async def run(self) -> None:
        """Read what is told, until cancelled."""
        pause = _FIRST_PAUSE
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            if not (self._listener.listening and (self.subscribers or self._subscribing)):
                continue  # once it listens it tells, and so does who subscribes
            if self._whole and not self._is_behind:
                continue
            try:
                await self._read()
                pause = _FIRST_PAUSE
            except Exception as error:  # noqa: BLE001 - whatever it was, only trying again helps
                log.warning("changes could not be read", reason=repr(error), retry_seconds=pause)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                self._wanted.set()

    def close(self) -> None:
        """End all that is followed; from now on, nobody can subscribe."""
        self._closed = True
        self._wake()

    async def subscribe(
        self, coins: Sequence[str] | None, currencies: Sequence[str] | None, since: int | None
    ) -> AsyncGenerator[Update, None]:
        """Follow these series: first what is, or what changed after `since`, then each change.

        Raises NotFoundError for names that are not kept, UnavailableError or
        DatabaseUnavailableError where changes cannot be followed.
        """
        if since is not None and since < 0:
            raise BadInputError("`since` must be the `revision` of an update, or be left out.")
        wanted = Filter.of(*await known_names(self._database, coins, currencies))
        await self._catch_up(since or 0)
        return self._follow(wanted, since)

    @property
    def _is_behind(self) -> bool:
        return self._told > self._newest.revision

    def _is_current(self, since: int) -> bool:
        """Whether all is read that was told, and would be if more were; up to `since` at least."""
        heard = self._whole and self._listener.listening and self.subscribers > 0
        return heard and not (self._is_behind or self._closed) and since <= self._newest.revision

    async def _catch_up(self, since: int) -> None:
        """Return when all is read that was committed before, of which another one may know."""
        if self._is_current(since):
            return
        revision = await deployment_revision(self._database)
        self._told = max(self._told, revision)
        self._subscribing += 1
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                while not (self._closed or (self._whole and self._newest.revision >= revision)):
                    moved = self._moved
                    self._wanted.set()
                    await moved.wait()
        except TimeoutError:
            raise UnavailableError(
                "Changes cannot be followed: the database does not answer. "
                "Try again in a few seconds."
            ) from None
        finally:
            self._subscribing -= 1
        if self._closed:
            raise UnavailableError("The server is stopping. Try again in a few seconds.")

    async def _follow(self, wanted: Filter, since: int | None) -> AsyncGenerator[Update, None]:
        self.subscribers += 1
        self._wanted.set()  # for what was told since the catching up
        try:
            place = _Place(self._epoch, self._newest.revision)
            if since is None:
                yield self._newest.present(UpdateKind.SNAPSHOT, wanted)
            elif since > place.revision:
                yield self._newest.present(UpdateKind.GAP, wanted)
            else:
                place.revision = since
            while not self._closed:
                moved = self._moved
                if update := self._next(wanted, place):
                    yield update
                else:
                    await moved.wait()
        finally:
            self.subscribers -= 1
            if not self.subscribers:
                self._newest.release()

    def _next(self, wanted: Filter, place: _Place) -> Update | None:
        """Give what is new since `place` in the filter, and move it on."""
        epoch, since = place.epoch, place.revision
        place.epoch, place.revision = self._epoch, self._newest.revision
        if epoch != self._epoch:
            return self._newest.present(UpdateKind.GAP, wanted)
        return self._newest.changes(wanted, since) if since < place.revision else None

    async def _read(self) -> None:
        """Read what has changed, or everything where that is not known."""
        losses, whole = self._losses, self._whole
        since = self._newest.revision if whole else EVERYTHING
        revision, changed = await changed_prices(self._database, since)
        if losses != self._losses:
            return  # which was told, so it is read again
        if not whole:
            self._newest.forget()
            self._whole = True
            self._epoch += 1
        self._newest.learn(revision, changed)
        self._wake()

    def _wake(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()
