"""Price series: pages, and the batch that reads many series with one statement."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from models.history import TrackingScope
from models.postgres.database import Database
from models.prices.granularity import Granularity, to_datetime
from models.prices.read import ALL_COLUMNS, PriceWindow, SeriesColumns, WindowPrices, read_windows
from models.prices.read_sql import BEFORE
from models.prices.series_cache import SeriesCache, read_cached_windows
from models.series import SeriesKey
from resolvers.cache_dependencies import CacheDependencies
from resolvers.coverage import wanted_from
from resolvers.errors import RangeTooLargeError
from resolvers.fill import FillPolicy, fill
from resolvers.names import explain_missing
from resolvers.ranges import BEGINNING, MOST_POINTS, PriceRequest, check_size, history_start


@dataclass(frozen=True, slots=True)
class PriceQuery:
    """A page of one series, and the requested columns in addition to the timestamps."""

    series: SeriesKey
    request: PriceRequest
    columns: frozenset[str]


@dataclass(frozen=True, slots=True)
class PricePage:
    """A page of one series. `next` is the start (descending: the end) of the next page.

    `requested` names the requested columns. `columns` may hold more, which the same batch read for
    other pages.
    """

    coin_id: str
    currency_code: str
    request: PriceRequest
    start: datetime
    revision: int
    columns: SeriesColumns
    next: datetime | None
    requested: frozenset[str] = ALL_COLUMNS

    def column(self, name: str) -> npt.NDArray[Any]:
        """Return a column; all NaN if buckets of this granularity do not have it.

        Raises LookupError for a column that was not requested.
        """
        if name not in self.requested:
            raise LookupError(
                f"{name} was not requested: schema/types/prices.py maps fields to columns."
            )
        column: npt.NDArray[Any] | None = getattr(self.columns, name)
        return np.full(len(self.columns), np.nan) if column is None else column


async def price_series(
    database: Database,
    series_cache: SeriesCache | None,
    dependencies: CacheDependencies,
    questions: Sequence[PriceQuery],
    tracked: TrackingScope | None,
) -> list[PricePage | Exception]:
    """Read many pages, with one SQL statement for each granularity and direction.

    A range without a start begins with the stored history or, for a `tracked` series, the
    configured one, whichever is earlier. Returns results in the order of `questions`, with an
    exception in the place of a page that cannot be read.
    """
    groups: dict[tuple[Granularity, bool], list[PriceQuery]] = {}
    for question in questions:
        request = question.request
        groups.setdefault((request.granularity, request.descending), []).append(question)
    found: dict[PriceQuery, PricePage | Exception | None] = {}
    for (granularity, descending), group in groups.items():
        columns = frozenset().union(*map(_columns, group))
        windows = [_window(question) for question in group]
        whole = granularity is Granularity.HOUR and columns and BEFORE not in columns
        if series_cache is None or not whole:
            read = partial(read_windows, database, granularity)
        else:
            read = partial(read_cached_windows, database, series_cache)
        parts = await read(windows, columns=columns, descending=descending)
        dependencies.add_series(part[0].id for part in parts if part)
        for question, part in zip(group, parts, strict=True):
            found[question] = _answer(question, part, tracked) if part else None
    missing = [question.series for question, answer in found.items() if answer is None]
    errors = await explain_missing(database, missing) if missing else {}
    return [found[question] or errors[question.series] for question in questions]


def _columns(question: PriceQuery) -> frozenset[str]:
    carried = question.request.fill is FillPolicy.PREVIOUS and "price" in question.columns
    return question.columns | {BEFORE} if carried else question.columns


def _window(question: PriceQuery) -> PriceWindow:
    request = question.request
    most = MOST_POINTS if request.first is None else request.first
    # one more, which shows whether there is a next page
    return PriceWindow(*question.series, request.start or BEGINNING, request.end, most + 1)


def _answer(
    question: PriceQuery, part: WindowPrices, tracked: TrackingScope | None
) -> PricePage | Exception:
    request, facts = question.request, part.facts
    wanted = wanted_from(question.series, request.granularity, tracked, request.now)
    start = request.start or history_start(request.granularity, facts, request.end, wanted)
    if request.first is None:
        try:
            check_size(request.granularity, start, request.end)
        except RangeTooLargeError as error:
            return error
    request = replace(request, start=start)
    page = _page if request.fill is FillPolicy.NONE else _filled_page
    columns, following = page(request, part)
    return PricePage(
        coin_id=facts.coin_id,
        currency_code=facts.currency_code,
        request=request,
        start=start,
        revision=facts.revision,
        columns=columns,
        next=following,
        requested=question.columns,
    )


def _page(request: PriceRequest, part: WindowPrices) -> tuple[SeriesColumns, datetime | None]:
    """Return the page's columns and the start of the next page (descending: its end)."""
    columns = part.columns
    if request.first is None or len(columns) <= request.first:
        return columns, None
    # Ascending, the next page begins with the extra bucket. Descending, it ends before the last
    # bucket of this page, because `to` is exclusive.
    edge = columns.timestamps[request.first - request.descending]
    return columns.head(request.first), to_datetime(edge)


def _filled_page(
    request: PriceRequest, part: WindowPrices
) -> tuple[SeriesColumns, datetime | None]:
    """Return the same for a page that contains every bucket of the range that has begun."""
    granularity = request.granularity
    first = granularity.ceil(request.start or request.end)
    numbers = range(first, max(first, granularity.ceil(min(request.end, request.now))))
    page = numbers[: request.first]
    if request.descending and request.first is not None:
        page = numbers[-request.first :]
    columns = fill(
        part.columns,
        granularity,
        page,
        descending=request.descending,
        before=part.before if request.fill is FillPolicy.PREVIOUS else None,
    )
    edge = page.start if request.descending else page.stop
    more = len(page) < len(numbers)
    return columns, to_datetime(granularity.starts(edge)) if more else None
