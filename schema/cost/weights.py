"""The cost of each field. One unit is one value of a columnar list, 0.1 to 0.3 µs of CPU.

CPU includes the server and its PostgreSQL sessions. An ordinary field passes through graphql-core
and costs about 100 units. A number that is unknown before the execution is replaced by an upper
bound, or by an estimate that is marked as one. No field uses more than five times the CPU that its
cost states; tests/schema/cost/test_fairness.py measures that.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from resolvers.aligned import MOST_PRICES, MOST_SERIES
from resolvers.analysis.anomalies import LONGEST_WINDOW, MOST_ANOMALIES, MOST_CELLS
from resolvers.data_extent import DataExtent
from resolvers.errors import BadInputError
from resolvers.pagination import LARGEST_PAGE
from resolvers.ranges import MOST_POINTS
from schema.cost.amounts import NOTHING, Amount
from schema.scalars import parse_datetime

FIELD = 100  # a field of an object that graphql-core resolves
READ = 1_000  # an SQL statement, or a key in a batched one
WINDOWS = 2_500  # the minimum for reading a price range
SESSION = 10_000  # an SQLAlchemy statement, including the objects it builds
LETTERS = 32  # free characters of a response name, which every value repeats; then 1 each
_COLUMNAR = 20  # ordinary objects cost this many times more than those in columns
_SHORTEST = {
    name: timedelta(hours=hours)
    for name, hours in {"HOUR": 1, "DAY": 24, "WEEK": 7 * 24, "MONTH": 28 * 24}.items()
}
_LONGEST_CHART = timedelta(days=90)  # the longest range for which CoinGecko returns hours
_GAPS = 100  # an estimate: a series has few gaps
_DAY = timedelta(days=1)
_LONG = {"WEEK", "MONTH"}  # buckets that PostgreSQL aggregates from days
_OF_DAY = 20  # a day that a longer bucket aggregates, with all columns
_PRICE_OF_DAY = 10  # the same with the price column only
_OF_SERIES = 600  # a series of a statement that reads many
_MEASURED = 5  # a bucket that `coverage` checks
_NAMED = 60  # a name in a list that a statement compares
_FREE_LETTERS, _LETTERS_OF_NAMES = 256, 16  # free characters of all arguments; then for 1 each
_FOUND = 20  # a coin that a search reads
_SEARCH = 20_000  # an anomaly search, in addition to its prices
_SEARCHED = 800  # a series that is searched
_STATUS = 300  # a series whose gaps and last error are read
_ROW = 40  # a row of latest prices
_ITEM = 300  # an item of a run, read by SQLAlchemy
_PLANNED, _PLANNED_HOUR = 2_000, 4  # a series searched for gaps, and each of its hours
_MOST_PLANNED = 1_000_000  # an upper limit, so that a plan stays affordable
LEAVES = {  # fields of types that are returned as columns
    "PricePoint": Amount(1),
    "PriceColumns": Amount(0, 1),
    "Anomaly": Amount(3),
    "Gap": Amount(2),
}
WIDTHS: dict[tuple[str, str], Callable[[Amount], Amount]] = {  # lists of buckets or of series
    ("PriceSeries", "points"): Amount.for_each_bucket,
    ("CoinConnection", "nodes"): Amount.for_each_bucket,
    ("CoinConnection", "edges"): Amount.for_each_bucket,
    ("RefreshRunConnection", "nodes"): Amount.for_each_bucket,
    ("RefreshRunConnection", "edges"): Amount.for_each_bucket,
    ("AlignedPrices", "series"): Amount.for_each_series,
    ("PriceUpdate", "prices"): Amount.for_each_series,
    ("RefreshPlan", "series"): Amount.for_each_series,
}
OWN = {  # the field's own cost
    ("PricePoint", "observedAt"): Amount(3),  # not on the hour, so each is formatted separately
    ("PriceSeries", "statistics"): Amount(FIELD, 3),
    ("PriceSeries", "movingAverage"): Amount(FIELD, 3),
    ("PriceSeries", "coverage"): Amount(READ, 0, _MEASURED),  # per bucket of the range
    ("AlignedPrices", "timestamps"): Amount(FIELD, 1),
    ("AlignedSeries", "prices"): Amount(FIELD, 1),
    ("CoinConnection", "totalCount"): Amount(READ),
    ("Coin", "metadata"): Amount(READ),
    ("Mutation", "refreshPrices"): Amount(SESSION),
    ("Subscription", "refreshProgress"): Amount(SESSION),
    ("RefreshRunConnection", "totalCount"): Amount(SESSION),
}


@dataclass(frozen=True, slots=True)
class FieldArguments:
    """The arguments of a field as received.

    Their types are not validated yet: invalid values are rejected during execution, and count as
    missing here.
    """

    values: Mapping[str, Any]
    now: datetime
    extent: DataExtent

    def number(self, name: str, most: int) -> int | None:
        """Return an Int argument, limited to [0, `most`]; None if it is missing."""
        value = self.values.get(name)
        if isinstance(value, float) and value.is_integer():
            value = int(value)  # GraphQL accepts 5.0 as an Int
        return max(0, min(value, most)) if isinstance(value, int) else None

    def names(self, name: str) -> int | None:
        """Return the length of a list argument; None if it is missing."""
        value = self.values.get(name)
        if isinstance(value, list):
            return len(value)
        return None if value is None else 1

    def letters(self) -> int:
        """Return the cost of long texts, which are trimmed and compared."""
        letters = sum(map(_letters, self.values.values()))
        return max(0, letters - _FREE_LETTERS) // _LETTERS_OF_NAMES

    def lookups(self) -> int:
        """Return the cost of looking up the names in `coins` and `currencies`."""
        named = [names for names in map(self.names, ("coins", "currencies")) if names is not None]
        return READ * len(named) + _NAMED * sum(named) + self.letters()

    def days(self, *, before: bool = False) -> int:
        """Count the stored days of a range of weeks or months; 0 for other granularities.

        With `before`, the days before the range count as well.
        """
        if str(self.values.get("granularity")) not in _LONG:
            return 0
        try:
            start, end = self._moment("from"), self._moment("to")
        except BadInputError:
            return 0  # rejected during execution
        first = self.extent.days_from
        if start is not None and not before:
            first = max(first, start - _SHORTEST["MONTH"])
        return max(0, (min(end or self.now, self.now) - first) // _DAY + 1)

    def buckets(self, granularity: str | None = None) -> int:
        """Count the buckets of the range as resolvers.ranges does, or one or two more.

        Returns at most MOST_POINTS: the resolver rejects a longer range without pages.
        """
        granularity = granularity or str(self.values.get("granularity"))
        try:
            length = _SHORTEST[granularity]
            start, end = self._moment("from"), self._moment("to")
        except (BadInputError, KeyError):
            return 0  # rejected during execution
        if start is None:
            start = (
                self.extent.hours_from if granularity == "HOUR" else self.extent.days_from - length
            )
        end = end or max(self.now, start)
        return min(MOST_POINTS, (end - start) // length + 1) if start < end else 0

    def _moment(self, name: str) -> datetime | None:
        value = self.values.get(name)
        return None if value is None else parse_datetime(value)

    def series(self) -> int:
        """Count the series that `coins` and `currencies` select; by default all stored."""
        coins, currencies = self.names("coins"), self.names("currencies")
        extent = self.extent
        return (extent.coins if coins is None else coins) * (
            extent.currencies if currencies is None else currencies
        )


def _letters(value: object) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, list):
        return sum(map(_letters, value))
    return sum(map(_letters, value.values())) if isinstance(value, dict) else 0


@dataclass(frozen=True, slots=True)
class FieldCost:
    """The cost and the size of a field, computed from its arguments.

    `own` is its own cost. What is selected below it counts `times` times, for `buckets` buckets of
    each of `series` series. Below PriceSeries, which is one series, `series` is the number of
    buckets of the whole range.
    """

    own: Amount
    times: int = 1
    buckets: int = 0
    series: int = 0


def _prices(arguments: FieldArguments) -> FieldCost:
    first, whole = arguments.number("first", MOST_POINTS), arguments.buckets()
    buckets = whole if first is None else min(first, whole)
    days = arguments.days(before=arguments.values.get("fill") == "PREVIOUS")
    own = max(WINDOWS, READ + buckets) + _OF_DAY * days + arguments.letters()
    return FieldCost(Amount(own), buckets=buckets, series=whole)


def _aligned(arguments: FieldArguments) -> FieldCost:
    series = min(arguments.series(), MOST_SERIES)
    buckets = min(arguments.buckets(), MOST_PRICES // max(1, series))
    carried = arguments.values.get("fill") == "PREVIOUS"
    each = _OF_SERIES * (1 + carried) + _PRICE_OF_DAY * arguments.days(before=carried) + buckets
    own = WINDOWS + each * series + arguments.letters()
    return FieldCost(Amount(own), buckets=buckets, series=series)


def _anomalies(arguments: FieldArguments) -> FieldCost:
    """All stored series are compared, up to MOST_CELLS, in a worker thread."""
    hours, window = arguments.buckets("HOUR"), arguments.number("window", LONGEST_WINDOW) or 0
    series = max(arguments.extent.series, arguments.series())
    if hours * series > MOST_CELLS:
        series = arguments.series()
    cells = min(MOST_CELLS, hours * series) + window * series
    # an estimate: with the default threshold, usually far fewer
    threshold = arguments.values.get("threshold")
    low = isinstance(threshold, int | float) and threshold < _LOW_THRESHOLD
    found = min(MOST_ANOMALIES, arguments.series() * hours // (_OFTEN if low else _SELDOM))
    per_cell = 2 + window // 32  # each median is taken over `window` returns
    own = _SEARCH + _SEARCHED * min(series, MOST_CELLS) + per_cell * cells + arguments.lookups()
    return FieldCost(Amount(own), times=found)


_LOW_THRESHOLD, _OFTEN, _SELDOM = 3, 2, 20


def _latest(arguments: FieldArguments) -> FieldCost:
    series = arguments.series()
    own = READ + _ROW * series + arguments.lookups()
    return FieldCost(Amount(own), times=-(-series // _COLUMNAR))


def _updates(arguments: FieldArguments) -> FieldCost:
    """Each update is estimated as large as the first, which has all prices."""
    return FieldCost(Amount(READ + arguments.lookups()), series=-(-arguments.series() // _COLUMNAR))


def _plan(arguments: FieldArguments) -> FieldCost:
    wanted = arguments.values.get("input")
    wanted = wanted if isinstance(wanted, dict) else {}
    arguments = replace(arguments, values=wanted)
    series, each = arguments.series(), FIELD
    if wanted.get("days") is None and not wanted.get("rebuild"):
        hours = max(0, (arguments.now - arguments.extent.hours_from) // timedelta(hours=1))
        each = _PLANNED + _PLANNED_HOUR * hours
    own = 2 * SESSION + min(_MOST_PLANNED, (FIELD + each) * series) + arguments.letters()
    return FieldCost(Amount(own), series=series)


def _windows(arguments: FieldArguments) -> FieldCost:
    """Estimate the calls of a full reload; gaps add few."""
    return FieldCost(
        NOTHING, times=max(1, -((arguments.extent.hours_from - arguments.now) // _LONGEST_CHART))
    )


def _status(arguments: FieldArguments) -> FieldCost:
    series = arguments.series()
    return FieldCost(Amount(SESSION + _STATUS * series + arguments.lookups()), times=series)


def _runs(arguments: FieldArguments) -> FieldCost:
    first = arguments.number("first", LARGEST_PAGE) or 0
    return FieldCost(Amount(SESSION + _ITEM * first + arguments.letters()), buckets=first)


def _coins(arguments: FieldArguments) -> FieldCost:
    """Count the coins of a page. A search reads each coin, `totalCount` once more."""
    first = arguments.number("first", LARGEST_PAGE) or 0
    wanted = arguments.values.get("filter")
    wanted = wanted if isinstance(wanted, dict) else {}
    ids = wanted.get("ids")
    named = len(ids) if isinstance(ids, list) else arguments.extent.coins
    own = 2 * READ + arguments.letters()
    for names in (ids, wanted.get("symbols")):
        own += 2 * _NAMED * len(names) if isinstance(names, list) else 0
    if wanted.get("search") or wanted.get("symbols"):
        own += 2 * _FOUND * arguments.extent.coins
    return FieldCost(Amount(own), buckets=min(first, named))


def _downsampled(arguments: FieldArguments) -> FieldCost:
    return FieldCost(Amount(FIELD, 2), times=arguments.number("maxPoints", MOST_POINTS) or 0)


def _items(arguments: FieldArguments) -> FieldCost:
    series = arguments.extent.series
    return FieldCost(Amount(READ + _ITEM * series), times=series)


def _latest_of_coin(arguments: FieldArguments) -> FieldCost:
    """A price that does not exist costs as much as one that does."""
    return FieldCost(Amount(READ // 2 + arguments.letters()))


_Sizing = Callable[[FieldArguments], FieldCost]
SIZES: dict[tuple[str, str], _Sizing] = {  # sizes that depend on arguments or on the time
    ("Query", "prices"): _prices,
    ("Coin", "prices"): _prices,
    ("Query", "alignedPrices"): _aligned,
    ("Query", "anomalies"): _anomalies,
    ("Query", "latestPrices"): _latest,
    ("Query", "seriesStatus"): _status,
    ("Query", "currencies"): lambda arguments: FieldCost(
        Amount(READ), times=arguments.extent.currencies
    ),
    ("Query", "coins"): _coins,
    ("Query", "refreshRuns"): _runs,
    ("Query", "refreshRun"): lambda arguments: FieldCost(Amount(SESSION + arguments.letters())),
    ("Query", "coin"): lambda arguments: FieldCost(Amount(READ + arguments.letters())),
    ("Coin", "latest"): _latest_of_coin,
    ("Query", "refreshPlan"): _plan,
    ("PlannedSeries", "windows"): _windows,
    ("Subscription", "priceUpdates"): _updates,
    ("PriceSeries", "downsampled"): _downsampled,
    ("RefreshRun", "items"): _items,
    ("Coverage", "gaps"): lambda _: FieldCost(NOTHING, times=_GAPS),
}
