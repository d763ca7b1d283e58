"""What each field costs. The unit is one value of a columnar list, some 0.1 to 0.3 µs of CPU.

CPU is that of the server and of its sessions of PostgreSQL. An ordinary field passes through
graphql-core and costs about a hundred units. Where a number is not known beforehand it is an upper
bound, or an estimate that says so. No field takes more than five times the CPU that its cost says:
tests/schema/cost/test_fairness.py measures it.
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

FIELD = 100  # of an object that graphql-core walks
READ = 1_000  # a statement, or its share in a batch
WINDOWS = 2_500  # the least that reading prices of a range takes, however few they are
SESSION = 10_000  # a statement of SQLAlchemy's, with what it takes to make objects of rows
LETTERS = 32  # of a response name, which is written with each value: each further one costs 1
_COLUMNAR = 20  # ordinary objects that come in columns cost so much less
_SHORTEST = {
    name: timedelta(hours=hours)
    for name, hours in {"HOUR": 1, "DAY": 24, "WEEK": 7 * 24, "MONTH": 28 * 24}.items()
}
_WINDOW = timedelta(days=90)  # which CoinGecko gives by the hour
_GAPS = 100  # an estimate: a series has few
_DAY = timedelta(days=1)
_LONG = {"WEEK", "MONTH"}  # buckets that PostgreSQL makes of days
_OF_DAY = 20  # a day that a longer bucket is made of, with all its figures
_PRICE_OF_DAY = 10  # the same with its price alone
_OF_SERIES = 600  # one of many that a statement reads
_MEASURED = 5  # a bucket of which `coverage` tells whether it is there
_NAMED = 60  # a name in a list, which a statement compares
_FREE_LETTERS, _LETTERS_OF_NAMES = 256, 16  # of all arguments; so many more cost 1
_FOUND = 20  # a coin that a search looks at
_SEARCH = 20_000  # for anomalies, besides its prices
_SEARCHED = 800  # a series that is searched
_STATUS = 300  # a series of which gaps are read, and the error told
_ROW = 40  # of newest prices
_ITEM = 300  # of a run: a row of a session
_PLANNED, _PLANNED_HOUR = 2_000, 4  # a series of which gaps are looked for, and its hours
_MOST_PLANNED = 1_000_000  # so that what a refresh would do can be asked, however much is kept
LEAVES = {  # a field of an object of these types, which come in columns
    "PricePoint": Amount(1),
    "PriceColumns": Amount(0, 1),
    "Anomaly": Amount(3),
    "Gap": Amount(2),
}
WIDTHS: dict[tuple[str, str], Callable[[Amount], Amount]] = {  # lists as long as what is around
    ("PriceSeries", "points"): Amount.for_each_bucket,
    ("CoinConnection", "nodes"): Amount.for_each_bucket,
    ("CoinConnection", "edges"): Amount.for_each_bucket,
    ("RefreshRunConnection", "nodes"): Amount.for_each_bucket,
    ("RefreshRunConnection", "edges"): Amount.for_each_bucket,
    ("AlignedPrices", "series"): Amount.for_each_series,
    ("PriceUpdate", "prices"): Amount.for_each_series,
    ("RefreshPlan", "series"): Amount.for_each_series,
}
OWN = {  # what a field costs by itself
    ("PricePoint", "observedAt"): Amount(3),  # no whole hour, so each is written anew
    ("PriceSeries", "statistics"): Amount(FIELD, 3),
    ("PriceSeries", "movingAverage"): Amount(FIELD, 3),
    ("PriceSeries", "coverage"): Amount(READ, 0, _MEASURED),  # of each bucket of the range
    ("AlignedPrices", "timestamps"): Amount(FIELD, 1),
    ("AlignedSeries", "prices"): Amount(FIELD, 1),
    ("CoinConnection", "totalCount"): Amount(READ),
    ("Coin", "metadata"): Amount(READ),
    ("Mutation", "refreshPrices"): Amount(SESSION),
    ("Subscription", "refreshProgress"): Amount(SESSION),
    ("RefreshRunConnection", "totalCount"): Amount(SESSION),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """The arguments of a field as they came: of any type, where they will be refused later."""

    arguments: Mapping[str, Any]
    now: datetime
    extent: DataExtent

    def number(self, name: str, most: int) -> int | None:
        value = self.arguments.get(name)
        if isinstance(value, float) and value.is_integer():
            value = int(value)  # GraphQL takes 5.0 for an Int
        return max(0, min(value, most)) if isinstance(value, int) else None

    def names(self, name: str) -> int | None:
        value = self.arguments.get(name)
        if isinstance(value, list):
            return len(value)
        return None if value is None else 1

    def letters(self) -> int:
        """Charge for the length of texts, which are trimmed and compared, where they are long."""
        letters = sum(map(_letters, self.arguments.values()))
        return max(0, letters - _FREE_LETTERS) // _LETTERS_OF_NAMES

    def lookups(self) -> int:
        """Charge for finding out whether the `coins` and `currencies` that are named are kept."""
        named = [names for names in map(self.names, ("coins", "currencies")) if names is not None]
        return READ * len(named) + _NAMED * sum(named) + self.letters()

    def days(self, *, before: bool = False) -> int:
        """Count the days that are kept of a range of weeks or months, and those before it."""
        if str(self.arguments.get("granularity")) not in _LONG:
            return 0
        try:
            start, end = self._moment("from"), self._moment("to")
        except BadInputError:
            return 0  # which is refused
        first = self.extent.days_from
        if start is not None and not before:
            first = max(first, start - _SHORTEST["MONTH"])
        return max(0, (min(end or self.now, self.now) - first) // _DAY + 1)

    def buckets(self, granularity: str | None = None) -> int:
        """Count the buckets of a range as resolvers.ranges takes it, or one or two more.

        At most MOST_POINTS: a longer range without pages is refused by the resolver.
        """
        granularity = granularity or str(self.arguments.get("granularity"))
        try:
            length = _SHORTEST[granularity]
            start, end = self._moment("from"), self._moment("to")
        except (BadInputError, KeyError):
            return 0  # which is refused, too
        if start is None:
            start = self.extent.hours_from if granularity == "HOUR" else self.extent.days_from - length
        end = end or max(self.now, start)
        return min(MOST_POINTS, (end - start) // length + 1) if start < end else 0

    def _moment(self, name: str) -> datetime | None:
        value = self.arguments.get(name)
        return None if value is None else parse_datetime(value)

    def series(self) -> int:
        """Count the series that `coins` and `currencies` name; without them, all that are kept."""
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
class Size:
    """`own`, and `times` what is below, which has so many buckets and series.

    Below PriceSeries, which is one series, `series` are the buckets of the whole range.
    """

    own: Amount
    times: int = 1
    buckets: int = 0
    series: int = 0


def _prices(asked: Asked) -> Size:
    first, whole = asked.number("first", MOST_POINTS), asked.buckets()
    buckets = whole if first is None else min(first, whole)
    days = asked.days(before=asked.arguments.get("fill") == "PREVIOUS")
    own = max(WINDOWS, READ + buckets) + _OF_DAY * days + asked.letters()
    return Size(Amount(own), buckets=buckets, series=whole)


def _aligned(asked: Asked) -> Size:
    series = min(asked.series(), MOST_SERIES)
    buckets = min(asked.buckets(), MOST_PRICES // max(1, series))
    carried = asked.arguments.get("fill") == "PREVIOUS"
    each = _OF_SERIES * (1 + carried) + _PRICE_OF_DAY * asked.days(before=carried) + buckets
    own = WINDOWS + each * series + asked.letters()
    return Size(Amount(own), buckets=buckets, series=series)


def _anomalies(asked: Asked) -> Size:
    """All series that are kept are compared, up to MOST_CELLS; a thread does it."""
    hours, window = asked.buckets("HOUR"), asked.number("window", LONGEST_WINDOW) or 0
    series = max(asked.extent.series, asked.series())
    if hours * series > MOST_CELLS:
        series = asked.series()
    cells = min(MOST_CELLS, hours * series) + window * series
    # an estimate: with the usual threshold far fewer, mostly
    threshold = asked.arguments.get("threshold")
    low = isinstance(threshold, int | float) and threshold < _LOW_THRESHOLD
    found = min(MOST_ANOMALIES, asked.series() * hours // (_OFTEN if low else _SELDOM))
    per_cell = 2 + window // 32  # each hour's median is of so many
    own = _SEARCH + _SEARCHED * min(series, MOST_CELLS) + per_cell * cells + asked.lookups()
    return Size(Amount(own), times=found)


_LOW_THRESHOLD, _OFTEN, _SELDOM = 3, 2, 20


def _latest(asked: Asked) -> Size:
    series = asked.series()
    own = READ + _ROW * series + asked.lookups()
    return Size(Amount(own), times=-(-series // _COLUMNAR))


def _updates(asked: Asked) -> Size:
    """Take each update for one of all prices, as the first is."""
    return Size(Amount(READ + asked.lookups()), series=-(-asked.series() // _COLUMNAR))


def _plan(asked: Asked) -> Size:
    wanted = asked.arguments.get("input")
    wanted = wanted if isinstance(wanted, dict) else {}
    asked = replace(asked, arguments=wanted)
    series, each = asked.series(), FIELD
    if wanted.get("days") is None and not wanted.get("rebuild"):
        hours = max(0, (asked.now - asked.extent.hours_from) // timedelta(hours=1))
        each = _PLANNED + _PLANNED_HOUR * hours
    own = 2 * SESSION + min(_MOST_PLANNED, (FIELD + each) * series) + asked.letters()
    return Size(Amount(own), series=series)


def _windows(asked: Asked) -> Size:
    """Take the history for asked for anew; holes in it, of which there are few, come besides."""
    return Size(NOTHING, times=max(1, -((asked.extent.hours_from - asked.now) // _WINDOW)))


def _status(asked: Asked) -> Size:
    series = asked.series()
    return Size(Amount(SESSION + _STATUS * series + asked.lookups()), times=series)


def _runs(asked: Asked) -> Size:
    first = asked.number("first", LARGEST_PAGE) or 0
    return Size(Amount(SESSION + _ITEM * first + asked.letters()), buckets=first)


def _coins(asked: Asked) -> Size:
    """Count the coins of a page. A search looks at each coin, once more where they are counted."""
    first = asked.number("first", LARGEST_PAGE) or 0
    wanted = asked.arguments.get("filter")
    wanted = wanted if isinstance(wanted, dict) else {}
    ids = wanted.get("ids")
    named = len(ids) if isinstance(ids, list) else asked.extent.coins
    own = 2 * READ + asked.letters()
    for names in (ids, wanted.get("symbols")):
        own += 2 * _NAMED * len(names) if isinstance(names, list) else 0
    if wanted.get("search") or wanted.get("symbols"):
        own += 2 * _FOUND * asked.extent.coins
    return Size(Amount(own), buckets=min(first, named))


def _downsampled(asked: Asked) -> Size:
    return Size(Amount(FIELD, 2), times=asked.number("maxPoints", MOST_POINTS) or 0)


def _items(asked: Asked) -> Size:
    series = asked.extent.series
    return Size(Amount(READ + _ITEM * series), times=series)


def _latest_of_coin(asked: Asked) -> Size:
    """Charge for one that is not there, too: it takes as long to tell."""
    return Size(Amount(READ // 2 + asked.letters()))


SIZES: dict[tuple[str, str], Callable[[Asked], Size]] = {  # what depends on arguments, or on now
    ("Query", "prices"): _prices,
    ("Coin", "prices"): _prices,
    ("Query", "alignedPrices"): _aligned,
    ("Query", "anomalies"): _anomalies,
    ("Query", "latestPrices"): _latest,
    ("Query", "seriesStatus"): _status,
    ("Query", "currencies"): lambda asked: Size(Amount(READ), times=asked.extent.currencies),
    ("Query", "coins"): _coins,
    ("Query", "refreshRuns"): _runs,
    ("Query", "refreshRun"): lambda asked: Size(Amount(SESSION + asked.letters())),
    ("Query", "coin"): lambda asked: Size(Amount(READ + asked.letters())),
    ("Coin", "latest"): _latest_of_coin,
    ("Query", "refreshPlan"): _plan,
    ("PlannedSeries", "windows"): _windows,
    ("Subscription", "priceUpdates"): _updates,
    ("PriceSeries", "downsampled"): _downsampled,
    ("RefreshRun", "items"): _items,
    ("Coverage", "gaps"): lambda _: Size(NOTHING, times=_GAPS),
}
