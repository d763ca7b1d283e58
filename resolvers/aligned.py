"""The prices of several series on one shared timeline."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

from models.postgres.database import Database
from models.prices.granularity import Granularity, Times
from models.prices.read import PriceWindow, WindowPrices, read_windows
from models.prices.read_sql import BEFORE
from models.series import SeriesFacts, SeriesKey
from resolvers.cache_dependencies import CacheDependencies
from resolvers.errors import BadInputError, RangeTooLargeError
from resolvers.fill import FillPolicy, carry
from resolvers.names import clean_all, explain_missing
from resolvers.ranges import BEGINNING, check_range, history_start, longer_buckets

MOST_SERIES = 100
MOST_PRICES = 200_000


@dataclass(frozen=True, slots=True)
class AlignedRequest:
    """The requested series and their range [start, end).

    The series are grouped by coin, in the order of the arguments.

    Without `start`, the range begins with the stored history.
    """

    keys: tuple[SeriesKey, ...]
    granularity: Granularity
    start: datetime | None
    end: datetime
    fill: FillPolicy
    now: datetime


@dataclass(frozen=True, slots=True)
class Aligned:
    """The prices as a matrix of shape (series, timestamps), NaN where there is none."""

    start: datetime
    timestamps: Times
    series: list[SeriesFacts]
    prices: npt.NDArray[np.float64]


def aligned_request(
    *,
    coins: Sequence[str],
    currencies: Sequence[str],
    granularity: Granularity,
    start: datetime | None,
    end: datetime | None,
    fill: FillPolicy,
    now: datetime,
    dependencies: CacheDependencies,
) -> AlignedRequest:
    """Validate the arguments. Raises BadInputError and RangeTooLargeError."""
    start, end = check_range(granularity, start, end, now, dependencies)
    codes = clean_all("currencies", currencies) or []
    keys = tuple((coin, code) for coin in clean_all("coins", coins) or [] for code in codes)
    if not keys:
        raise BadInputError("Name at least one of `coins` and one of `currencies`.")
    if len(keys) > MOST_SERIES:
        raise RangeTooLargeError(
            f"Coins × currencies are {len(keys):,} series, more than {MOST_SERIES}: "
            "ask for them in several queries with the same `from` and `to`."
        )
    request = AlignedRequest(keys, granularity, start, end, fill, now)
    if start is not None:
        _check_size(request, start)
    return request


def _check_size(request: AlignedRequest, start: datetime) -> None:
    granularity, series = request.granularity, len(request.keys)
    buckets = granularity.buckets_between(start, request.end)
    if buckets * series <= MOST_PRICES:
        return
    most = MOST_PRICES // series
    ways = [f"a range of at most {most:,} buckets"]
    longer = longer_buckets(granularity, start, request.end, most)
    if longer is not None:
        ways.insert(0, f"`granularity: {longer}`")
    if buckets <= MOST_PRICES:
        ways.append(f"at most {MOST_PRICES // buckets:,} series")
    raise RangeTooLargeError(
        f"{series:,} series × {buckets:,} buckets are {series * buckets:,} prices, more than "
        f"{MOST_PRICES:,}: ask for {', or '.join(ways)}."
    )


async def align(
    database: Database, dependencies: CacheDependencies, request: AlignedRequest
) -> Aligned:
    """Read all series with one SQL statement. Raises NotFoundError and RangeTooLargeError."""
    most = MOST_PRICES // len(request.keys) + 1
    start = request.start or BEGINNING
    carried = request.fill is FillPolicy.PREVIOUS
    found = await read_windows(
        database,
        request.granularity,
        [PriceWindow(*key, start, request.end, most) for key in request.keys],
        columns=frozenset({"price", BEFORE} if carried else {"price"}),
    )
    parts = [part for part in found if part is not None]
    dependencies.add_series(part.facts.id for part in parts)
    if len(parts) < len(found):
        missing = [key for key, part in zip(request.keys, found, strict=True) if part is None]
        raise (await explain_missing(database, missing))[missing[0]]
    if request.start is None:
        starts = (history_start(request.granularity, part.facts, request.end) for part in parts)
        start = min(starts)
        _check_size(request, start)
    return _aligned(request, start, parts)


def _aligned(request: AlignedRequest, start: datetime, parts: Sequence[WindowPrices]) -> Aligned:
    granularity = request.granularity
    first = granularity.ceil(start)
    last = granularity.ceil(request.end)
    if request.fill is not FillPolicy.NONE:  # future buckets are not missing
        last = min(last, granularity.ceil(request.now))
    known = np.zeros((len(parts), max(last - first, 0)), dtype=np.bool_)
    prices = np.full(known.shape, np.nan)
    for row, part in enumerate(parts):
        places = granularity.numbers(part.columns.timestamps) - first
        in_range = (places >= 0) & (places < known.shape[1])
        known[row, places[in_range]] = True
        price = part.columns.price
        assert price is not None  # noqa: S101 - requested above
        prices[row, places[in_range]] = price[in_range]
        if request.fill is FillPolicy.PREVIOUS:
            prices[row] = carry(prices[row], known[row], part.before)
    numbers = np.arange(first, first + known.shape[1])
    if request.fill is FillPolicy.NONE:
        some = known.any(axis=0)
        numbers, prices = numbers[some], np.ascontiguousarray(prices[:, some])
    return Aligned(start, granularity.starts(numbers), [part.facts for part in parts], prices)
