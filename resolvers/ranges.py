"""Ranges of buckets: what a caller asks for, checked."""

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
BEGINNING = datetime(2009, 1, 3, tzinfo=UTC)  # nothing has a price before Bitcoin's first block


@dataclass(frozen=True, slots=True)
class PriceRequest:
    """Which part of a series is asked for: [start, end), a page of `first` buckets of it.

    `now` is the operation's: no bucket that begins later is filled.
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
    """Check what a caller asks for. Raises BadInputError and RangeTooLargeError."""
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
    """Give the range asked for, its end now if none is given. Raises BadInputError."""
    if end is None:  # who asks from beyond now on, for what comes next, gets nothing yet
        end = max(now, start or now)
        dependencies.mark_relative()
    if start is None:  # the start of what is wanted moves with the hours
        dependencies.expire_at(floor_hour(now) + HOUR)
    running = granularity.floor(now)
    if granularity.ceil(end) > running:  # that bucket is not over, and will be
        dependencies.expire_at(to_datetime(granularity.starts(running + 1)))
    if start is not None and start > end:
        raise BadInputError(
            f"`from` ({_show(start)}) lies after `to` ({_show(end)}): exchange them."
        )
    return start, end


def check_size(granularity: Granularity, start: datetime, end: datetime) -> None:
    """Check that a range without pages is not too long. Raises RangeTooLargeError."""
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
    """Name the shortest of the longer buckets that a range has at most so many of."""
    every = list(Granularity)
    longer = every[every.index(granularity) + 1 :]
    return next((each for each in longer if each.buckets_between(start, end) <= most), None)


def history_start(
    granularity: Granularity,
    facts: SeriesFacts,
    end: datetime,
    wanted: datetime | None = None,
) -> datetime:
    """Return where a range begins that was asked for without a start.

    That is where the kept history begins, or where it is `wanted` from, if that is earlier: what
    is missing at its start is part of the range.

    The history may begin within a week or a month. That one is made of the days there are, so it
    is the range's first; but a day of which only some hours are known is not kept.
    """
    start = min(facts.history_from or end, wanted or end, end)
    if granularity is not Granularity.HOUR:  # days reach farther back
        start = min(start, facts.daily_from or start)
    if granularity in (Granularity.HOUR, Granularity.DAY):
        return start
    return to_datetime(granularity.starts(granularity.floor(start)))


def _show(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
