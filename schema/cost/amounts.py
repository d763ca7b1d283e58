"""Costs that depend on how long a series is, and on how many series there are."""

from typing import NamedTuple, Self


class Amount(NamedTuple):
    """`fixed` + `buckets` × b + `series` × s + `cells` × b × s, for b buckets of each of s series.

    What a fragment costs is told without knowing the series that it is spread in.
    """

    fixed: int = 0
    buckets: int = 0
    series: int = 0
    cells: int = 0

    def plus(self, other: Self) -> "Amount":
        return Amount(
            self.fixed + other.fixed,
            self.buckets + other.buckets,
            self.series + other.series,
            self.cells + other.cells,
        )

    def times(self, count: int) -> "Amount":
        return Amount(*(part * count for part in self))

    def at(self, buckets: int, series: int) -> int:
        return (
            self.fixed
            + self.buckets * buckets
            + self.series * series
            + self.cells * buckets * series
        )

    def for_each_bucket(self) -> "Amount":
        return Amount(0, self.fixed, 0, self.series)

    def for_each_series(self) -> "Amount":
        return Amount(0, 0, self.fixed, self.buckets)


NOTHING = Amount()
