"""Price updates: one hub per process, which reads changes once for all its subscribers."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

import structlog

from models.postgres.connection import CONNECT_SECONDS
from models.postgres.database import Database
from models.postgres.notifications import Listener
from models.series import changed_prices, deployment_revision
from resolvers.errors import BadInputError, UnavailableError
from resolvers.live.latest_prices import NO_REVISION, Filter, LatestPrices, Update, UpdateKind
from resolvers.names import known_names

log = structlog.get_logger("coingraph.updates")

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 2.0


@dataclass(slots=True)
class _Position:
    """The state of one subscriber: what it has received so far."""

    epoch: int
    revision: int


class PriceUpdates:
    """The hub that follows price changes and serves all subscribers of one process.

    It receives the `listener`'s notifications. `run` then reads what changed, once for all
    notifications since the last read. Nothing is read while there are no subscribers. A subscriber
    is only a position in the sequence of revisions: when it asks, it receives the newest price of
    each series that changed since. So memory does not grow while a subscriber is slow.
    """

    def __init__(self, database: Database, listener: Listener) -> None:
        self._database = database
        self._listener = listener
        self._latest = LatestPrices()
        self._notified = NO_REVISION  # the highest notified revision
        self._resets = 0  # how often notifications may have been missed
        self._complete = False  # True if all prices were read since the last reset
        self._epoch = 0  # how often all prices were read
        self._wanted = asyncio.Event()
        self._changed = asyncio.Event()  # set, and replaced by a new event, at each change
        self._closed = False
        self._subscribing = 0
        self.subscribers = 0

    @property
    def cached_updates(self) -> int:
        """The number of updates cached for subscribers at the same position."""
        return self._latest.cached_updates

    def series_changed(self, _series_id: int, revision: int) -> None:
        """Handle a notification: a series changed at this deployment revision."""
        self._notified = max(self._notified, revision)
        self._wanted.set()

    def catalogue_changed(self) -> None:
        """Ignore it: a series matters only once it has a price."""

    def run_changed(self, _run_id: str) -> None:
        """Ignore it: price changes of a run have notifications of their own."""

    def anything_changed(self) -> None:
        """Handle a lost connection: read all prices again."""
        self._complete = False
        self._resets += 1
        self._notified = NO_REVISION  # the database may be another one
        self._wanted.set()

    async def run(self) -> None:
        """Read changes after notifications, until cancelled."""
        pause = _FIRST_PAUSE
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            if not (self._listener.listening and (self.subscribers or self._subscribing)):
                continue  # listening again and each new subscriber set `_wanted`
            if self._complete and not self._is_behind:
                continue
            try:
                await self._read()
                pause = _FIRST_PAUSE
            except Exception as error:  # noqa: BLE001 - any failure is retried
                log.warning("changes could not be read", reason=repr(error), retry_seconds=pause)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                self._wanted.set()

    def close(self) -> None:
        """End all subscriptions and reject new ones."""
        self._closed = True
        self._wake()

    async def subscribe(
        self, coins: Sequence[str] | None, currencies: Sequence[str] | None, since: int | None
    ) -> AsyncGenerator[Update, None]:
        """Follow these series: the current prices, or the changes after `since`, then each change.

        Raises BadInputError for a negative `since`, NotFoundError for names that are not stored,
        UnavailableError or DatabaseUnavailableError if changes cannot be followed.
        """
        if since is not None and since < 0:
            raise BadInputError("`since` must be the `revision` of an update, or be left out.")
        wanted = Filter.of(*await known_names(self._database, coins, currencies))
        await self._catch_up(since or 0)
        return self._follow(wanted, since)

    @property
    def _is_behind(self) -> bool:
        return self._notified > self._latest.revision

    def _is_current(self, since: int) -> bool:
        """Return True if all notified changes up to `since` are read and more would be received."""
        followed = self._complete and self._listener.listening and self.subscribers > 0
        return followed and not (self._is_behind or self._closed) and since <= self._latest.revision

    async def _catch_up(self, since: int) -> None:
        """Return when everything committed before is read.

        Another server process may already have shown it to this subscriber.
        """
        if self._is_current(since):
            return
        revision = await deployment_revision(self._database)
        self._notified = max(self._notified, revision)
        self._subscribing += 1
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                while not (self._closed or (self._complete and self._latest.revision >= revision)):
                    changed_event = self._changed
                    self._wanted.set()
                    await changed_event.wait()
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
        self._wanted.set()  # for notifications since `_catch_up`
        try:
            position = _Position(self._epoch, self._latest.revision)
            if since is None:
                yield self._latest.current(UpdateKind.SNAPSHOT, wanted)
            elif since > position.revision:
                yield self._latest.current(UpdateKind.GAP, wanted)
            else:
                position.revision = since
            while not self._closed:
                changed_event = self._changed
                if update := self._next(wanted, position):
                    yield update
                else:
                    await changed_event.wait()
        finally:
            self.subscribers -= 1
            if not self.subscribers:
                self._latest.drop_updates()

    def _next(self, wanted: Filter, position: _Position) -> Update | None:
        """Return what changed since `position` for the filter, and advance the position."""
        epoch, since = position.epoch, position.revision
        position.epoch, position.revision = self._epoch, self._latest.revision
        if epoch != self._epoch:
            return self._latest.current(UpdateKind.GAP, wanted)
        return self._latest.changes(wanted, since) if since < position.revision else None

    async def _read(self) -> None:
        """Read what changed, or all prices if the changes are not known."""
        resets, complete = self._resets, self._complete
        since = self._latest.revision if complete else NO_REVISION
        revision, changed = await changed_prices(self._database, since)
        if resets != self._resets:
            return  # the reset has set `_wanted`, so it is read again
        if not complete:
            self._latest.clear()
            self._complete = True
            self._epoch += 1
        self._latest.apply(revision, changed)
        self._wake()

    def _wake(self) -> None:
        changed_event, self._changed = self._changed, asyncio.Event()
        changed_event.set()
