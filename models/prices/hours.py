"""Hourly samples as numpy rows, and what is to be kept of old ones when new ones come. Pure."""

from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.void]  # structured, by rising key; NaN stands for NULL

# Times are microseconds since 1970, as in `Hours`.
HOUR_ROW = np.dtype(
    [
        ("bucket", np.int64),
        ("observed_at", np.int64),
        ("price", np.float64),
        ("market_cap", np.float64),
        ("volume", np.float64),
    ]
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Hours:
    """Hourly samples of one series, by rising bucket. Times are microseconds since 1970.

    Market cap and volume are NaN where upstream gave none.
    """

    bucket: npt.NDArray[np.int64]
    observed_at: npt.NDArray[np.int64]
    price: npt.NDArray[np.float64]
    market_cap: npt.NDArray[np.float64]
    volume: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.bucket)

    def rows(self) -> Rows:
        """Give the same as rows of `HOUR_ROW`."""
        rows = np.empty(len(self), HOUR_ROW)
        for field in fields(self):
            rows[field.name] = getattr(self, field.name)
        return rows


def micros(instant: datetime) -> int:
    """Count the microseconds since 1970."""
    return (instant - _EPOCH) // timedelta(microseconds=1)


def instant(micros: int) -> datetime:
    """Tell which moment is so many microseconds after 1970."""
    return _EPOCH + timedelta(microseconds=int(micros))


def merge(
    stored: Rows, given: Rows, replace_from: int | None, *, charted_to: int | None = None
) -> Rows:
    """Work out what a range holds once `given` is stored on top of what is there.

    An hour keeps its earliest observation: a later one takes its place only from `replace_from` on,
    or from `charted_to` on. This is the newest hour that a chart gave, maybe only with its "now"
    point, which CoinGecko does not keep; later hours are from live prices. Both are microseconds,
    and None is never. With `replace_from`, nothing else from then on stays. A market cap or volume
    that upstream once gave for the same observation is not lost to a null.
    """
    if not len(stored):
        return given
    given = given.copy()
    _, old, new = np.intersect1d(
        stored["bucket"], given["bucket"], assume_unique=True, return_indices=True
    )
    before, after = stored["observed_at"][old], given["observed_at"][new]
    earlier = before < after
    for edge in (replace_from, charted_to):
        if edge is not None:
            earlier &= stored["bucket"][old] < edge
    given[new[earlier]] = stored[old[earlier]]
    old, new = old[before == after], new[before == after]
    for name in ("market_cap", "volume"):
        known, offered = stored[name][old], given[name][new]
        given[name][new] = np.where(np.isnan(offered), known, offered)
    stays = ~np.isin(stored["bucket"], given["bucket"], assume_unique=True)
    if replace_from is not None:
        stays &= stored["bucket"] < replace_from
    rows = np.concatenate([stored[stays], given])
    return rows[np.argsort(rows["bucket"], kind="stable")]
