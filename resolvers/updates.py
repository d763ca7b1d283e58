"""Price updates: what one process knows of the newest prices, and how its subscribers follow it."""

import asyncio
from collections.abc import AsyncGenerator, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum

import structlog

from models.database import CONNECT_SECONDS, Database
from models.notifications import Listener
from models.series import LatestFacts, changed_prices, deployment_revision
from resolvers.errors import BadInputError, UnavailableError
from resolvers.names import known_names

log = structlog.get_logger("coingraph.updates")

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 2.0
_MOST_KEPT = 256
_EVERYTHING = -1  # a revision before the first


class UpdateKind(Enum):
    SNAPSHOT = "snapshot"  # the present state, to begin with
    CHANGE = "change"
    GAP = "gap"  # the present state, as nobody knows what has changed


@dataclass(frozen=True, slots=True)
class Filter:
    """Which series a subscriber follows; None stands for all coins, or all currencies."""

    coins: frozenset[str] | None
    currencies: frozenset[str] | None

    def passes(self, row: LatestFacts) -> bool:
        return (self.coins is None or row.coin_id in self.coins) and (
            self.currencies is None or row.currency_code in self.currencies
        )


@dataclass(frozen=True, slots=True)
class Update:
    """Newest prices as of a revision of the deployment; one object for all who are given it.

    `rendered` is where a transport keeps the answers that it has made of it, by whatever they
    depend on.
    """

    kind: UpdateKind
    revision: int
    rows: Sequence[LatestFacts]
    now: datetime
    rendered: dict[Hashable, bytes] = field(default_factory=dict)


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
        self._prices: dict[int, tuple[int, LatestFacts]] = {}  # by series, in order of change
        self._revision = _EVERYTHING  # as of which the prices are
        self._told = _EVERYTHING
        self._epoch = 0  # how often all prices were read, as nobody knew what had changed
        self._whole = False
        self._losses = 0
        self._wanted = asyncio.Event()
        self._moved = asyncio.Event()  # set and replaced by another one when there is news
        self._kept: dict[Hashable, Update | None] = {}
        self._closed = False
        self.subscribers = 0

    @property
    def _is_current(self) -> bool:
        """Whether all is read that was told, and would be."""
        return (
            self.subscribers > 0
            and self._whole
            and self._told <= self._revision
            and self._listener.listening
            and not self._closed
        )

    def series_changed(self, _series_id: int, revision: int) -> None:
        self._told = max(self._told, revision)
        if self.subscribers:
            self._wanted.set()

    def catalogue_changed(self) -> None:
        """A series without a price is nobody's news; its first price is."""

    def anything_changed(self) -> None:
        self._whole = False
        self._losses += 1
        self._wanted.set()

    async def run(self) -> None:
        """Read what is told, until cancelled."""
        pause = _FIRST_PAUSE
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            if not self._listener.listening or (self._whole and self._told <= self._revision):
                continue  # once it listens, it will tell
            try:
                await self._read()
                pause = _FIRST_PAUSE
            except Exception as error:  # noqa: BLE001 - whatever it was, only trying again helps
                log.warning("changes could not be read", reason=repr(error), retry_seconds=pause)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                self._wanted.set()

    def close(self) -> None:
        """End what all subscribers follow; new ones are refused."""
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
            raise BadInputError("`since` must be a `revision` that an update had, or left out.")
        coin_ids, codes = await known_names(self._database, coins, currencies)
        wanted = Filter(
            None if coin_ids is None else frozenset(coin_ids),
            None if codes is None else frozenset(codes),
        )
        await self._catch_up(since or 0)
        return self._follow(wanted, since)

    async def _catch_up(self, since: int) -> None:
        """Return when all is read that was committed before; `since` may be, elsewhere."""
        if self._is_current and since <= self._revision:
            return
        revision = await deployment_revision(self._database)
        self._told = max(self._told, revision)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                while not self._closed and not (self._whole and self._revision >= revision):
                    moved = self._moved
                    self._wanted.set()
                    await moved.wait()
        except TimeoutError:
            raise UnavailableError(
                "Changes cannot be followed just now: the database does not answer. "
                "Try again in a few seconds."
            ) from None
        if self._closed:
            raise UnavailableError("The server is stopping. Subscribe again in a few seconds.")

    async def _follow(self, wanted: Filter, since: int | None) -> AsyncGenerator[Update, None]:
        self.subscribers += 1
        self._wanted.set()  # for what was told since the catching up
        try:
            place = _Place(self._epoch, self._revision)
            if since is None or since > self._revision:
                kind = UpdateKind.SNAPSHOT if since is None else UpdateKind.GAP
                yield self._present(kind, wanted)
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
                self._kept.clear()

    def _next(self, wanted: Filter, place: _Place) -> Update | None:
        """Give what is new since `place` in the filter, and move it on."""
        epoch, since = place.epoch, place.revision
        place.epoch, place.revision = self._epoch, self._revision
        if epoch != self._epoch:
            return self._present(UpdateKind.GAP, wanted)
        if since == self._revision:
            return None
        key = (wanted, since)
        if key not in self._kept:
            rows = [row for row in self._changed(since) if wanted.passes(row)]
            self._keep(key, self._update(UpdateKind.CHANGE, rows) if rows else None)
        return self._kept[key]

    def _present(self, kind: UpdateKind, wanted: Filter) -> Update:
        # ages are told as of the update, so it is not given away much later
        key = (wanted, kind, int(datetime.now(UTC).timestamp()))
        update = self._kept.get(key)
        if update is None:
            rows = [row for _, row in self._prices.values() if wanted.passes(row)]
            update = self._update(kind, rows)
            self._keep(key, update)
        return update

    def _update(self, kind: UpdateKind, rows: list[LatestFacts]) -> Update:
        rows.sort(key=lambda row: (row.coin_id, row.currency_code))
        return Update(kind, self._revision, rows, datetime.now(UTC))

    def _keep(self, key: Hashable, update: Update | None) -> None:
        while len(self._kept) >= _MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[key] = update

    def _changed(self, since: int) -> Iterator[LatestFacts]:
        """Give the newest prices that changed after `since`, the last change first."""
        for revision, row in reversed(self._prices.values()):
            if revision <= since:
                return
            yield row

    async def _read(self) -> None:
        """Read what has changed, or everything where that is not known."""
        losses, whole = self._losses, self._whole
        since = self._revision if whole else _EVERYTHING
        revision, changed = await changed_prices(self._database, since)
        if losses != self._losses:
            return  # which has been told, so it is read again
        if not whole:
            self._prices.clear()
            self._epoch += 1
            self._told = revision
            self._whole = True
        elif revision == self._revision:
            return
        for number, row in changed:
            self._prices.pop(row.series_id, None)
            self._prices[row.series_id] = (number, row)
        self._revision = revision
        self._kept.clear()
        self._wake()

    def _wake(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()
