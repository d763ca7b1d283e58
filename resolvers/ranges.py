"""Ranges of buckets in arguments: validation, limits and defaults."""

from dataclasses import dataclass
from datetime import UTC, datetime

from models.history import HOUR, floor_hour
from models.prices.granularity import Granularity, to_datetime
from models.series import SeriesFacts
from resolvers.cache_dependencies import CacheDependencies
from resolvers.errors import BadInputError, RangeTooLargeError
from resolvers.fill import FillPolicy
from resolvers.pagination import check_first

MOST_POINTS = 10_000
BEGINNING = datetime(2009, 1, 3, tzinfo=UTC)  # Bitcoin's first block: no price is older


@dataclass(frozen=True, slots=True)
class PriceRequest:
    """A page of `first` buckets of the range [start, end) of a series.

    `now` is the time of the operation: no bucket that begins later is filled.
    """

    granularity: Granularity
    start: datetime | None
    end: datetime
    descending: bool
    first: int | None
    now: datetime
    fill: FillPolicy = FillPolicy.NONE


def price_request(
    *,
    granularity: Granularity,
    start: datetime | None,
    end: datetime | None,
    now: datetime,
    descending: bool,
    first: int | None,
    dependencies: CacheDependencies,
    fill: FillPolicy = FillPolicy.NONE,
) -> PriceRequest:
    """Validate the arguments. Raises BadInputError and RangeTooLargeError."""
    start, end = check_range(granularity, start, end, now, dependencies)
    if first is not None:
        check_first(first, MOST_POINTS)
    elif start is not None:
        check_size(granularity, start, end)
    return PriceRequest(granularity, start, end, descending, first, now, fill)


def check_range(
    granularity: Granularity,
    start: datetime | None,
    end: datetime | None,
    now: datetime,
    dependencies: CacheDependencies,
) -> tuple[datetime | None, datetime]:
    """Validate a range and return it; `end` defaults to `now`. Raises BadInputError."""
    if end is None:  # a range that starts in the future is empty, not an error
        end = max(now, start or now)
        dependencies.mark_relative()
    if start is None:  # the start of the history moves every hour
        dependencies.expire_at(floor_hour(now) + HOUR)
    running = granularity.floor(now)
    if granularity.ceil(end) > running:  # the bucket in progress ends then
        dependencies.expire_at(to_datetime(granularity.starts(running + 1)))
    if start is not None and start > end:
        raise BadInputError(f"`from` ({_show(start)}) lies after `to` ({_show(end)}): swap them.")
    return start, end


def check_size(granularity: Granularity, start: datetime, end: datetime) -> None:
    """Raise RangeTooLargeError if a range without pages has more than MOST_POINTS buckets."""
    buckets = granularity.buckets_between(start, end)
    if buckets <= MOST_POINTS:
        return
    ways = [f"page through it with `first: {MOST_POINTS}` and `next`"]
    longer = longer_buckets(granularity, start, end, MOST_POINTS)
    if longer is not None:
        ways.insert(0, f"ask for `granularity: {longer}`")
    raise RangeTooLargeError(
        f"The range has {buckets:,} buckets, more than {MOST_POINTS:,}: {', or '.join(ways)}."
    )


def longer_buckets(
    granularity: Granularity, start: datetime, end: datetime, most: int
) -> Granularity | None:
    """Return the shortest longer granularity with at most `most` buckets in the range."""
    every = list(Granularity)
    longer = every[every.index(granularity) + 1 :]
    return next((each for each in longer if each.buckets_between(start, end) <= most), None)


def history_start(
    granularity: Granularity,
    facts: SeriesFacts,
    end: datetime,
    wanted: datetime | None = None,
) -> datetime:
    """Return the start of a range that was requested without one.

    It is the start of the stored history or `wanted`, whichever is earlier, so that what is missing
    at the start belongs to the range. A week or a month in which the history starts is included,
    because it is built from the stored days. A day with only some of its hours is not stored.
    """
    start = min(facts.history_from or end, wanted or end, end)
    if granularity is not Granularity.HOUR:  # days reach farther back
        start = min(start, facts.daily_from or start)
    if granularity in (Granularity.HOUR, Granularity.DAY):
        return start
    return to_datetime(granularity.starts(granularity.floor(start)))


def _show(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
