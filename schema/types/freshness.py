"""How fresh each series is, as clients see it."""

from datetime import datetime
from typing import Self

import strawberry

from resolvers.series import SeriesFreshness, age_of
from schema.scalars import BigInt, DateTime, moment


@strawberry.type(description="How fresh and how whole a series is, and why where it is not.")
class SeriesStatus:
    coin: strawberry.ID = strawberry.field(description="The coin's id.")
    currency: strawberry.ID = strawberry.field(description="The currency's code.")
    revision: BigInt = strawberry.field(description="Grows with every change to its prices.")
    first_bucket: DateTime | None = strawberry.field(description="The oldest hour kept.")
    last_bucket: DateTime | None = strawberry.field(description="The newest hour kept.")
    observed_at: DateTime | None = strawberry.field(description="When its newest price was seen.")
    age_seconds: float | None = strawberry.field(description="How long ago that was.")
    stale: bool = strawberry.field(description="Whether that is longer ago than it should be.")
    reason: str | None = strawberry.field(
        description="Why it is stale, or that much of its history is missing; null when it is "
        "fresh and nearly whole."
    )
    hours_missing: int = strawberry.field(
        description="How many hours of the history that the settings ask for (HISTORY_DAYS) are "
        "missing, as far as refreshes have found."
    )
    days_missing: int = strawberry.field(
        description="How many of its days (a year at least) are missing, for which neither hours "
        "nor a daily price came."
    )
    last_success_at: DateTime | None = strawberry.field(
        description="When a refresh last brought this series."
    )
    last_error: str | None = strawberry.field(
        description="Why the last refresh failed; null when it did not."
    )
    consecutive_failures: int = strawberry.field(
        description="How many refreshes in a row have failed."
    )

    @classmethod
    def from_row(cls, freshness: SeriesFreshness, now: datetime) -> Self:
        series, latest = freshness.row.series, freshness.row.latest
        seen = None if latest is None else latest.observed_at
        return cls(
            coin=strawberry.ID(series.coin_id),
            currency=strawberry.ID(series.currency_code),
            revision=BigInt(series.revision),
            first_bucket=moment(series.first_bucket),
            last_bucket=moment(series.last_bucket),
            observed_at=moment(seen),
            age_seconds=None if seen is None else age_of(seen, now).total_seconds(),
            stale=freshness.reason is not None,
            reason=freshness.reason or freshness.lacking,
            hours_missing=freshness.missing.hours,
            days_missing=freshness.missing.days,
            last_success_at=moment(series.last_success_at),
            last_error=series.last_error,
            consecutive_failures=series.consecutive_failures,
        )
