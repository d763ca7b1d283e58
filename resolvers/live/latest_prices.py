"""The latest price of each series in the order of changes, and the updates built from it."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum

from models.series import LatestFacts

_MAX_UPDATES = 256
_CURRENT_FOR = timedelta(seconds=1)
NO_REVISION = -1  # lower than every revision


class UpdateKind(Enum):
    """Which prices an update contains: all, those that changed, or all after a gap."""

    SNAPSHOT = "snapshot"  # all prices, as the first update
    CHANGE = "change"
    GAP = "gap"  # all prices, because changes may have been missed


@dataclass(frozen=True, slots=True)
class Filter:
    """The series that a subscriber follows. None means all coins, or all currencies."""

    coins: frozenset[str] | None
    currencies: frozenset[str] | None

    @classmethod
    def of(cls, coins: Sequence[str] | None, currencies: Sequence[str] | None) -> "Filter":
        """Build a filter from coin ids and currency codes."""
        return cls(
            None if coins is None else frozenset(coins),
            None if currencies is None else frozenset(currencies),
        )

    def matches(self, row: LatestFacts) -> bool:
        """Return True if the filter includes the series of `row`."""
        return (self.coins is None or row.coin_id in self.coins) and (
            self.currencies is None or row.currency_code in self.currencies
        )


@dataclass(frozen=True, slots=True)
class Update:
    """Latest prices, sorted by coin and currency, as of a `revision` of the deployment.

    All subscribers at the same position share one object. Transports cache the encoded forms of the
    update in `rendered`, by everything they depend on. Ages in the update refer to `now`, the time
    when it was built.
    """

    kind: UpdateKind
    revision: int
    rows: Sequence[LatestFacts]
    now: datetime
    rendered: dict[Hashable, bytes] = field(default_factory=dict)


class LatestPrices:
    """The latest prices of all series, as of `revision`.

    Caches the updates it builds, because many subscribers ask for the same one: one for each filter
    and for each revision that a slow subscriber resumes from, at most 256. A change of the prices
    clears them.
    """

    def __init__(self) -> None:
        self.revision = NO_REVISION
        # By series id, in ascending order of the deployment's revision, the tuple's first value.
        self._prices: dict[int, tuple[int, LatestFacts]] = {}
        self._updates: dict[Hashable, Update | None] = {}

    @property
    def cached_updates(self) -> int:
        """The number of cached updates."""
        return len(self._updates)

    def apply(self, revision: int, changed: Iterable[tuple[int, LatestFacts]]) -> None:
        """Apply the changes up to `revision`, in ascending order of revisions."""
        for number, row in changed:
            self._prices.pop(row.series_id, None)
            self._prices[row.series_id] = (number, row)
        self.revision = revision
        self.drop_updates()

    def clear(self) -> None:
        """Drop all prices and updates."""
        self._prices.clear()
        self.revision = NO_REVISION
        self.drop_updates()

    def drop_updates(self) -> None:
        """Clear the cached updates."""
        self._updates.clear()

    def changes(self, wanted: Filter, since: int) -> Update | None:
        """Return the changes after revision `since`; None if there are none."""
        key = (wanted, since)
        if key not in self._updates:
            rows = []
            for revision, row in reversed(self._prices.values()):
                if revision <= since:
                    break
                if wanted.matches(row):
                    rows.append(row)
            self._keep(key, self._update(UpdateKind.CHANGE, rows) if rows else None)
        return self._updates[key]

    def current(self, kind: UpdateKind, wanted: Filter) -> Update:
        """Return all prices that `wanted` includes."""
        key = (wanted, kind)
        update = self._updates.get(key)
        # ages in an update refer to the time it was built, so it is reused for one second only
        if update is None or abs(datetime.now(UTC) - update.now) >= _CURRENT_FOR:
            rows = [row for _, row in self._prices.values() if wanted.matches(row)]
            update = self._update(kind, rows)
            self._keep(key, update)
        return update

    def _update(self, kind: UpdateKind, rows: list[LatestFacts]) -> Update:
        rows.sort(key=lambda row: (row.coin_id, row.currency_code))
        return Update(kind, self.revision, rows, datetime.now(UTC))

    def _keep(self, key: Hashable, update: Update | None) -> None:
        if key not in self._updates and len(self._updates) >= _MAX_UPDATES:
            del self._updates[next(iter(self._updates))]
        self._updates[key] = update
