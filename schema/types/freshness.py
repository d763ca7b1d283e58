"""The type of `seriesStatus`."""

from datetime import datetime
from typing import Self

import strawberry

from resolvers.series import SeriesFreshness, age_of
from schema.scalars import BigInt, DateTime, moment


@strawberry.type(
    description="How recent and how complete the data of one series (one coin in one currency) is."
)
class SeriesStatus:
    """How recent and complete a series is."""

    coin: strawberry.ID = strawberry.field(description="The coin's id, for example `bitcoin`.")
    currency: strawberry.ID = strawberry.field(
        description="The currency's code, for example `usd`."
    )
    revision: BigInt = strawberry.field(
        description="Version number of the stored prices of this series. It grows with every "
        "change to them."
    )
    first_bucket: DateTime | None = strawberry.field(
        description="The start of the oldest stored hour. Null if no hour is stored."
    )
    last_bucket: DateTime | None = strawberry.field(
        description="The start of the newest stored hour. Null if no hour is stored."
    )
    observed_at: DateTime | None = strawberry.field(
        description="The time of the newest price observation. Null if there is no price yet."
    )
    age_seconds: float | None = strawberry.field(
        description="The age of the newest price, in seconds. Null if there is no price yet."
    )
    stale: bool = strawberry.field(
        description="True if the newest price is older than the setting STALE_AFTER allows (by "
        "default 3 hours), lies in the future, or does not exist yet."
    )
    reason: str | None = strawberry.field(
        description="Why the series is stale, or that more than 10 % of its expected history is "
        "missing, as a sentence. Null if it is neither."
    )
    hours_missing: int = strawberry.field(
        description="The number of missing hours in the configured history (HISTORY_DAYS), as "
        "known from past refreshes. 0 for a series that is not tracked."
    )
    days_missing: int = strawberry.field(
        description="The number of missing days in the configured history (at least one year), for "
        "which neither hours nor a daily price are stored. 0 for a series that is not tracked."
    )
    last_success_at: DateTime | None = strawberry.field(
        description="The time of the last successful refresh of this series. Null if there was "
        "none."
    )
    last_error: str | None = strawberry.field(
        description="Why the last refresh of this series failed. Null if it succeeded, or if there "
        "was none."
    )
    consecutive_failures: int = strawberry.field(
        description="The number of failed refreshes since the last successful one."
    )

    @classmethod
    def from_row(cls, freshness: SeriesFreshness, now: datetime) -> Self:
        """Build the object; the age is relative to `now`."""
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
