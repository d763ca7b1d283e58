"""What each field costs. The unit is one value of a columnar list, some 0.1 to 0.2 µs.

An ordinary field passes through graphql-core and costs about a hundred of them. Where a number is
not known beforehand it is an upper bound, or an estimate that says so.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from resolvers.aligned import MOST_PRICES, MOST_SERIES
from resolvers.anomalies import LONGEST_WINDOW, MOST_ANOMALIES, MOST_CELLS
from resolvers.errors import BadInputError
from resolvers.kept import Kept
from resolvers.pages import LARGEST_PAGE
from resolvers.ranges import MOST_POINTS
from schema.cost.amounts import NOTHING, Amount
from schema.scalars import parse_datetime

FIELD = 100  # of an object that graphql-core walks
READ = 1_000  # a statement, or its share in a batch
LETTERS = 32  # of a response name, which is written with each value: each further one costs 1
_COLUMNAR = 20  # ordinary objects that come in columns cost so much less
_SHORTEST = {
    name: timedelta(hours=hours)
    for name, hours in {"HOUR": 1, "DAY": 24, "WEEK": 7 * 24, "MONTH": 28 * 24}.items()
}
_WINDOW = timedelta(days=90)  # which CoinGecko gives by the hour
_GAPS = 100  # an estimate: a series has few
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
    ("PriceSeries", "coverage"): Amount(READ),
    ("AlignedPrices", "timestamps"): Amount(FIELD, 1),
    ("AlignedSeries", "prices"): Amount(FIELD, 1),
    ("CoinConnection", "totalCount"): Amount(READ),
    ("Coin", "metadata"): Amount(READ),
    ("Coin", "latest"): Amount(READ // 2),  # one that is not there takes as long to tell
    ("Query", "coin"): Amount(READ),
    ("Query", "refreshRun"): Amount(READ),
    ("Mutation", "refreshPrices"): Amount(READ),
    ("Subscription", "refreshProgress"): Amount(READ),
    ("RefreshRunConnection", "totalCount"): Amount(READ),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """The arguments of a field as they came: of any type, where they will be refused later."""

    arguments: Mapping[str, Any]
    now: datetime
    kept: Kept

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
            start = self.kept.hours_from if granularity == "HOUR" else self.kept.days_from - length
        end = end or max(self.now, start)
        return min(MOST_POINTS, (end - start) // length + 1) if start < end else 0

    def _moment(self, name: str) -> datetime | None:
        value = self.arguments.get(name)
        return None if value is None else parse_datetime(value)

    def series(self) -> int:
        """Count the series that `coins` and `currencies` name; without them, all that are kept."""
        coins, currencies = self.names("coins"), self.names("currencies")
        kept = self.kept
        return (kept.coins if coins is None else coins) * (
            kept.currencies if currencies is None else currencies
        )


@dataclass(frozen=True, slots=True)
class Size:
    """`own`, and `times` what is below, which has so many buckets and series."""

    own: Amount
    times: int = 1
    buckets: int = 0
    series: int = 0


def _prices(asked: Asked) -> Size:
    first, buckets = asked.number("first", MOST_POINTS), asked.buckets()
    if first is not None:
        buckets = min(first, buckets)
    return Size(Amount(READ + buckets), buckets=buckets)


def _aligned(asked: Asked) -> Size:
    series = min(asked.series(), MOST_SERIES)
    buckets = min(asked.buckets(), MOST_PRICES // max(1, series))
    return Size(Amount(READ + buckets * series), buckets=buckets, series=series)


def _anomalies(asked: Asked) -> Size:
    """All series that are kept are compared, up to MOST_CELLS; a thread does it."""
    hours = asked.buckets("HOUR")
    cells = min(MOST_CELLS, hours * max(asked.kept.series, asked.series()))
    found = min(MOST_ANOMALIES, asked.series() * hours // 20)  # an estimate: far fewer, mostly
    window = asked.number("window", LONGEST_WINDOW) or 0  # each hour's median is of so many
    return Size(Amount(READ + (2 + window // 32) * cells), times=found)


def _latest(asked: Asked) -> Size:
    return Size(Amount(READ), times=-(-asked.series() // _COLUMNAR))


def _updates(asked: Asked) -> Size:
    """Take each update for one of all prices, as the first is."""
    return Size(Amount(READ), series=-(-asked.series() // _COLUMNAR))


def _plan(asked: Asked) -> Size:
    wanted = asked.arguments.get("input")
    series = replace(asked, arguments=wanted if isinstance(wanted, dict) else {}).series()
    return Size(Amount(READ + FIELD * series), series=series)


def _windows(asked: Asked) -> Size:
    """Take the history for asked for anew; holes in it, of which there are few, come besides."""
    return Size(NOTHING, times=max(1, -((asked.kept.hours_from - asked.now) // _WINDOW)))


def _status(asked: Asked) -> Size:
    return Size(Amount(READ), times=asked.series())


def _page(asked: Asked) -> Size:
    return Size(Amount(READ), buckets=asked.number("first", LARGEST_PAGE) or 0)


def _coins(asked: Asked) -> Size:
    page = _page(asked)
    wanted = asked.arguments.get("filter")
    ids = wanted.get("ids") if isinstance(wanted, dict) else None
    named = len(ids) if isinstance(ids, list) else asked.kept.coins
    return replace(page, buckets=min(page.buckets, named))


def _downsampled(asked: Asked) -> Size:
    return Size(Amount(FIELD, 2), times=asked.number("maxPoints", MOST_POINTS) or 0)


def _items(asked: Asked) -> Size:
    return Size(Amount(READ), times=asked.kept.series)


SIZES: dict[tuple[str, str], Callable[[Asked], Size]] = {  # what depends on arguments, or on now
    ("Query", "prices"): _prices,
    ("Coin", "prices"): _prices,
    ("Query", "alignedPrices"): _aligned,
    ("Query", "anomalies"): _anomalies,
    ("Query", "latestPrices"): _latest,
    ("Query", "seriesStatus"): _status,
    ("Query", "currencies"): lambda asked: Size(Amount(READ), times=asked.kept.currencies),
    ("Query", "coins"): _coins,
    ("Query", "refreshRuns"): _page,
    ("Query", "refreshPlan"): _plan,
    ("PlannedSeries", "windows"): _windows,
    ("Subscription", "priceUpdates"): _updates,
    ("PriceSeries", "downsampled"): _downsampled,
    ("RefreshRun", "items"): _items,
    ("Coverage", "gaps"): lambda _: Size(NOTHING, times=_GAPS),
}
