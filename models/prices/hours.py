"""Hourly samples as numpy rows, and how new ones merge with stored ones. Pure."""

from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.void]  # a structured array by ascending key; NaN stands for NULL

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
    """Hourly samples of one series as columns of equal length, by ascending bucket.

    Times are microseconds since 1970; prices are in units of the series' currency. Market cap and
    volume are NaN if upstream gave none.
    """

    bucket: npt.NDArray[np.int64]
    observed_at: npt.NDArray[np.int64]
    price: npt.NDArray[np.float64]
    market_cap: npt.NDArray[np.float64]
    volume: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.bucket)

    def rows(self) -> Rows:
        """Return the same samples as rows of `HOUR_ROW`."""
        rows = np.empty(len(self), HOUR_ROW)
        for field in fields(self):
            rows[field.name] = getattr(self, field.name)
        return rows


def micros(instant: datetime) -> int:
    """Convert to microseconds since 1970."""
    return (instant - _EPOCH) // timedelta(microseconds=1)


def instant(micros: int) -> datetime:
    """Convert from microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=int(micros))


def merge(
    stored: Rows, given: Rows, replace_from: int | None, *, charted_to: int | None = None
) -> Rows:
    """Return the hours of a range after `given` is merged into `stored`; all are `HOUR_ROW` rows.

    An hour keeps its earliest observation. A later one replaces it only from `replace_from` or
    from `charted_to` on, in microseconds since 1970 (None: never). `charted_to` is the newest hour
    that came from a chart: it may hold only a "now" point, which CoinGecko does not keep, and later
    hours are from live prices. With `replace_from`, stored hours from then on that are not in
    `given` are removed. A null does not replace a stored market cap or volume of the same
    observation.
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
