"""Costs that depend on the length and the number of series."""

from typing import NamedTuple, Self


class Amount(NamedTuple):
    """A linear cost: `fixed` + `buckets` × b + `series` × s + `cells` × b × s.

    b is the number of buckets of each series, s the number of series. So the cost of a fragment is
    independent of the field in which it is spread.
    """

    fixed: int = 0
    buckets: int = 0
    series: int = 0
    cells: int = 0

    def plus(self, other: Self) -> "Amount":
        """Return the sum of two amounts."""
        return Amount(
            self.fixed + other.fixed,
            self.buckets + other.buckets,
            self.series + other.series,
            self.cells + other.cells,
        )

    def times(self, count: int) -> "Amount":
        """Return the amount multiplied by `count`."""
        return Amount(*(part * count for part in self))

    def at(self, buckets: int, series: int) -> int:
        """Return the cost for this many buckets and series."""
        return (
            self.fixed
            + self.buckets * buckets
            + self.series * series
            + self.cells * buckets * series
        )

    def for_each_bucket(self) -> "Amount":
        """Return the cost of one such amount per bucket."""
        return Amount(0, self.fixed, 0, self.series)

    def for_each_series(self) -> "Amount":
        """Return the cost of one such amount per series."""
        return Amount(0, 0, self.fixed, self.buckets)


NOTHING = Amount()
