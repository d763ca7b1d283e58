"""Price series: ranges, pages, and the batch that answers many series with one statement."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np

from models.database import Database
from models.prices import Granularity, PriceColumns, PriceWindow, read_windows
from models.series import SeriesFacts, SeriesKey
from resolvers.errors import BadInputError, RangeTooLargeError
from resolvers.footprint import Footprint
from resolvers.names import explain_missing
from resolvers.pages import check_first

MOST_POINTS = 10_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BEGINNING = datetime(2009, 1, 3, tzinfo=UTC)  # nothing has a price before Bitcoin's first block


@dataclass(frozen=True, slots=True)
class PriceRequest:
    """Which part of a series is asked for: [start, end), a page of `first` buckets of it."""

    granularity: Granularity
    start: datetime | None
    end: datetime
    descending: bool
    first: int | None


@dataclass(frozen=True, slots=True)
class PriceQuestion:
    """A part of one series, and the columns that are wanted of it beside the timestamps."""

    series: SeriesKey
    request: PriceRequest
    columns: frozenset[str]


@dataclass(frozen=True, slots=True)
class PriceAnswer:
    """A part of a series. `next` is the start (descending: the end) of the next page."""

    coin_id: str
    currency_code: str
    request: PriceRequest
    start: datetime
    revision: int
    columns: PriceColumns
    next: datetime | None


def price_request(
    *,
    granularity: Granularity,
    start: datetime | None,
    end: datetime | None,
    now: datetime,
    descending: bool,
    first: int | None,
    footprint: Footprint,
) -> PriceRequest:
    """Check what a caller asks for. Raises BadInputError and RangeTooLargeError."""
    if end is None:  # who asks from beyond now on, for what comes next, gets nothing yet
        end = max(now, start or now)
        footprint.now()
    running = now - (now - _EPOCH) % granularity.length
    if end > running:  # the bucket that begins there is partial while it lasts
        footprint.ends(running + granularity.length)
    if start is not None and start > end:
        raise BadInputError(
            f"`from` ({_show(start)}) lies after `to` ({_show(end)}): exchange them."
        )
    if first is not None:
        check_first(first, MOST_POINTS)
    elif start is not None:
        _check_size(granularity, start, end)
    return PriceRequest(granularity, start, end, descending, first)


def _check_size(granularity: Granularity, start: datetime, end: datetime) -> None:
    buckets = _buckets(granularity, start, end)
    if buckets <= MOST_POINTS:
        return
    ways = [f"page through it with `first: {MOST_POINTS}` and `next`"]
    if granularity is Granularity.HOUR and _buckets(Granularity.DAY, start, end) <= MOST_POINTS:
        ways.insert(0, "ask for `granularity: DAY`")
    raise RangeTooLargeError(
        f"The range has {buckets:,} buckets, more than {MOST_POINTS:,}: {', or '.join(ways)}."
    )


def _buckets(granularity: Granularity, start: datetime, end: datetime) -> int:
    """Count the buckets that begin in [start, end), whether there is data for them or not."""
    length = granularity.length
    return -((_EPOCH - end) // length) + (_EPOCH - start) // length


def _show(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


async def price_series(
    database: Database, footprint: Footprint, questions: Sequence[PriceQuestion]
) -> list[PriceAnswer | Exception]:
    """Answer many questions with one statement for each granularity and direction among them.

    Results are in the order of `questions`, with an error in the place of one that cannot be
    answered.
    """
    groups: dict[tuple[Granularity, bool], list[PriceQuestion]] = {}
    for question in questions:
        request = question.request
        groups.setdefault((request.granularity, request.descending), []).append(question)
    found: dict[PriceQuestion, PriceAnswer | Exception | None] = {}
    for (granularity, descending), group in groups.items():
        parts = await read_windows(
            database,
            granularity,
            [_window(question) for question in group],
            columns=frozenset().union(*(question.columns for question in group)),
            descending=descending,
        )
        footprint.series(part[0].id for part in parts if part)
        for question, part in zip(group, parts, strict=True):
            found[question] = _answer(question.request, *part) if part else None
    missing = [question.series for question, answer in found.items() if answer is None]
    errors = await explain_missing(database, missing) if missing else {}
    return [found[question] or errors[question.series] for question in questions]


def _window(question: PriceQuestion) -> PriceWindow:
    request = question.request
    most = MOST_POINTS if request.first is None else request.first
    # one more, which tells whether there is a next page
    return PriceWindow(*question.series, request.start or _BEGINNING, request.end, most + 1)


def _answer(
    request: PriceRequest, series: SeriesFacts, columns: PriceColumns
) -> PriceAnswer | Exception:
    start = request.start or min(series.history_from or request.end, request.end)
    following = None
    if request.first is None:
        try:
            _check_size(request.granularity, start, request.end)
        except RangeTooLargeError as error:
            return error
    elif len(columns) > request.first:
        # Ascending, the next page begins with the bucket left out; descending, it ends before
        # the last one given, because `to` is exclusive.
        edge = columns.timestamps[request.first - request.descending]
        following = to_datetime(edge)
        columns = columns.head(request.first)
    return PriceAnswer(
        coin_id=series.coin_id,
        currency_code=series.currency_code,
        request=request if request.start else replace(request, start=start),
        start=start,
        revision=series.revision,
        columns=columns,
        next=following,
    )


def to_datetime(instant: np.datetime64) -> datetime:
    micros = int(instant.astype("datetime64[us]").astype(np.int64))
    return _EPOCH + timedelta(microseconds=micros)
