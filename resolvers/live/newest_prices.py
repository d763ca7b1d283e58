"""The newest price of each series, in the order in which they changed, and updates made of them."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum

from models.series import LatestFacts

_MOST_KEPT = 256
_PRESENT_FOR = timedelta(seconds=1)
EVERYTHING = -1  # a revision before the first


class UpdateKind(Enum):
    SNAPSHOT = "snapshot"  # the present state, to begin with
    CHANGE = "change"
    GAP = "gap"  # the present state, as nobody knows what has changed


@dataclass(frozen=True, slots=True)
class Filter:
    """Which series somebody follows; None stands for all coins, or all currencies."""

    coins: frozenset[str] | None
    currencies: frozenset[str] | None

    @classmethod
    def of(cls, coins: Sequence[str] | None, currencies: Sequence[str] | None) -> "Filter":
        return cls(
            None if coins is None else frozenset(coins),
            None if currencies is None else frozenset(currencies),
        )

    def passes(self, row: LatestFacts) -> bool:
        return (self.coins is None or row.coin_id in self.coins) and (
            self.currencies is None or row.currency_code in self.currencies
        )


@dataclass(frozen=True, slots=True)
class Update:
    """Newest prices by coin and currency, as of a revision of the deployment.

    It is one object for all who are given it. `rendered` is where a transport keeps the answers
    that it has made of it, by whatever they depend on. `now` is when it was made: ages are told as
    of then.
    """

    kind: UpdateKind
    revision: int
    rows: Sequence[LatestFacts]
    now: datetime
    rendered: dict[Hashable, bytes] = field(default_factory=dict)


class NewestPrices:
    """What is known as of `revision`.

    Updates are kept until more is known, for others who want the same. There are some for each
    filter, and for each revision that a slow reader goes on from; no more than 256 of them.
    """

    def __init__(self) -> None:
        self.revision = EVERYTHING
        # By series; by rising revision of the deployment, which comes first.
        self._prices: dict[int, tuple[int, LatestFacts]] = {}
        self._kept: dict[Hashable, Update | None] = {}

    @property
    def kept(self) -> int:
        """How many updates are kept."""
        return len(self._kept)

    def learn(self, revision: int, changed: Iterable[tuple[int, LatestFacts]]) -> None:
        """Take in what has changed up to `revision`, by rising revision."""
        for number, row in changed:
            self._prices.pop(row.series_id, None)
            self._prices[row.series_id] = (number, row)
        self.revision = revision
        self.release()

    def forget(self) -> None:
        self._prices.clear()
        self.revision = EVERYTHING
        self.release()

    def release(self) -> None:
        """Keep no update any longer."""
        self._kept.clear()

    def changes(self, wanted: Filter, since: int) -> Update | None:
        """Give what changed after `since`, None where nothing did."""
        key = (wanted, since)
        if key not in self._kept:
            rows = []
            for revision, row in reversed(self._prices.values()):
                if revision <= since:
                    break
                if wanted.passes(row):
                    rows.append(row)
            self._keep(key, self._update(UpdateKind.CHANGE, rows) if rows else None)
        return self._kept[key]

    def present(self, kind: UpdateKind, wanted: Filter) -> Update:
        """Give all prices."""
        key = (wanted, kind)
        update = self._kept.get(key)
        # ages in it are told as of when it was made, so it is not given away much later
        if update is None or abs(datetime.now(UTC) - update.now) >= _PRESENT_FOR:
            rows = [row for _, row in self._prices.values() if wanted.passes(row)]
            update = self._update(kind, rows)
            self._keep(key, update)
        return update

    def _update(self, kind: UpdateKind, rows: list[LatestFacts]) -> Update:
        rows.sort(key=lambda row: (row.coin_id, row.currency_code))
        return Update(kind, self.revision, rows, datetime.now(UTC))

    def _keep(self, key: Hashable, update: Update | None) -> None:
        if key not in self._kept and len(self._kept) >= _MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[key] = update
