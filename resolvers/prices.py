"""Price series: ranges, pages, and the batch that answers many series with one statement."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np

from models.database import Database
from models.prices import Granularity, PriceColumns, price_columns
from models.series import SeriesFacts, SeriesKey, series_by_key
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
    database: Database, footprint: Footprint, request: PriceRequest, keys: Sequence[SeriesKey]
) -> list[PriceAnswer | Exception]:
    """Answer one request for many series with a fixed number of statements.

    Results are in the order of `keys`, with an error in the place of a series that cannot be
    answered.
    """
    async with database.read() as session:
        series = await series_by_key(session, keys)
        footprint.series(row.id for row in series.values())
        limit = MOST_POINTS if request.first is None else request.first
        columns = await price_columns(
            session,
            request.granularity,
            [row.id for row in series.values()],
            request.start or _BEGINNING,
            request.end,
            descending=request.descending,
            limit=limit + 1,
        )
    missing = [key for key in keys if key not in series]
    errors = await explain_missing(database, missing) if missing else {}
    return [
        errors[key] if key in errors else _answer(request, series[key], columns[series[key].id])
        for key in keys
    ]


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
