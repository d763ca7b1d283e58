"""The tables, one class each. Prices are double precision, times are UTC."""

from datetime import date, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKey,
    Identity,
    Integer,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from models import column_types

SQLModel.metadata.naming_convention = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class RefreshStatus(StrEnum):
    """The status of a refresh run."""

    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    PARTIAL = "PARTIAL"
    FAILED = "FAILED"
    INTERRUPTED = "INTERRUPTED"


class ItemStatus(StrEnum):
    """The outcome of one series in a run."""

    PENDING = "PENDING"
    SUCCEEDED = "SUCCEEDED"
    PARTIAL = "PARTIAL"
    FAILED = "FAILED"
    INTERRUPTED = "INTERRUPTED"


class RefreshTrigger(StrEnum):
    """What started a run."""

    MUTATION = "MUTATION"
    COMMAND = "COMMAND"
    STARTUP = "STARTUP"
    SCHEDULE = "SCHEDULE"


class Coin(SQLModel, table=True):
    """A coin. `id` is CoinGecko's id; symbols are not unique."""

    id: str = column_types.key(Text)
    symbol: str = column_types.text()
    name: str = column_types.text()
    created_at: datetime = column_types.time(now=True)
    updated_at: datetime = column_types.time(now=True)


class CoinMetadata(SQLModel, table=True):
    """What CoinGecko publishes about a coin; null where it has nothing."""

    __tablename__ = "coin_metadata"

    coin_id: str = column_types.key(Text, "coin.id")
    description: str | None = column_types.text(null=True)
    image_url: str | None = column_types.text(null=True)
    website_url: str | None = column_types.text(null=True)
    updated_at: datetime = column_types.time(now=True)


class Currency(SQLModel, table=True):
    """A currency that prices are quoted in. `code` is CoinGecko's, in lower case."""

    code: str = column_types.key(Text)
    name: str = column_types.text()
    symbol: str = column_types.text()


class Series(SQLModel, table=True):
    """One coin in one currency.

    `history_from` is the start of the oldest window for which upstream has given hours.
    `daily_from` is how far back the days before it have been requested. PriceGap and PriceGapDaily
    hold the gaps. `charted_to` is the newest hour that came from a chart: the samples of later
    hours are provisional, from live prices. `revision` grows with each transaction that changes the
    series' prices; `deployment_revision` is the deployment's revision as of the last of them.
    """

    __table_args__ = (UniqueConstraint("coin_id", "currency_code"),)

    id: int = Field(default=None, sa_column=Column(Integer, Identity(), primary_key=True))
    coin_id: str = Field(sa_column=Column(Text, ForeignKey("coin.id"), nullable=False))
    currency_code: str = Field(sa_column=Column(Text, ForeignKey("currency.code"), nullable=False))
    revision: int = column_types.count(BigInteger)
    deployment_revision: int = column_types.count(BigInteger, index=True)
    history_from: datetime | None = column_types.time(null=True)
    daily_from: datetime | None = column_types.time(null=True)
    first_bucket: datetime | None = column_types.time(null=True)
    last_bucket: datetime | None = column_types.time(null=True)
    charted_to: datetime | None = column_types.time(null=True)
    last_success_at: datetime | None = column_types.time(null=True)
    last_error: str | None = column_types.text(null=True)
    last_error_at: datetime | None = column_types.time(null=True)
    consecutive_failures: int = column_types.count()


class Deployment(SQLModel, table=True):
    """The one row whose `revision` grows with each transaction that changes any series."""

    __table_args__ = (CheckConstraint("id = 1", name="ck_deployment_one_row"),)

    id: int = column_types.key(Integer)
    revision: int = column_types.count(BigInteger)


class PriceHourly(SQLModel, table=True):
    """The sample of one hour: the first observation in [bucket, bucket + 1 hour)."""

    __tablename__ = "price_hourly"

    series_id: int = column_types.key(Integer)
    bucket: datetime = column_types.key(DateTime(timezone=True))
    observed_at: datetime = column_types.time()
    price: float = column_types.number(null=False)
    market_cap: float | None = column_types.number()
    volume: float | None = column_types.number()


class PriceDaily(SQLModel, table=True):
    """The prices of one UTC day.

    `price` is the mean of the day's hours; market cap and volume are the last known ones. A day
    that begins before the hourly history has one sample: upstream's price at its start.
    """

    __tablename__ = "price_daily"

    series_id: int = column_types.key(Integer)
    day: date = column_types.key(Date)
    price: float = column_types.number(null=False)
    open: float = column_types.number(null=False)
    high: float = column_types.number(null=False)
    low: float = column_types.number(null=False)
    close: float = column_types.number(null=False)
    market_cap: float | None = column_types.number()
    volume: float | None = column_types.number()
    samples: int = column_types.count()


class PriceGap(SQLModel, table=True):
    """Hours [starts, ends) that were requested from upstream and that it did not give.

    `asked` counts the requests between `asked_since` and `asked_at`; requests within an hour of
    each other count once. `answered` counts those whose response had prices but left the hours out.
    See models.prices.gaps.
    """

    __tablename__ = "price_gap"

    series_id: int = column_types.key(Integer)
    starts: datetime = column_types.key(DateTime(timezone=True))
    ends: datetime = column_types.time()
    asked: int = column_types.count()
    answered: int = column_types.count()
    asked_since: datetime = column_types.time()
    asked_at: datetime = column_types.time()


class PriceGapDaily(SQLModel, table=True):
    """Days [starts, ends) that upstream's daily points left out. The columns are PriceGap's."""

    __tablename__ = "price_gap_daily"

    series_id: int = column_types.key(Integer)
    starts: datetime = column_types.key(DateTime(timezone=True))
    ends: datetime = column_types.time()
    asked: int = column_types.count()
    answered: int = column_types.count()
    asked_since: datetime = column_types.time()
    asked_at: datetime = column_types.time()


class PriceLatest(SQLModel, table=True):
    """The newest price of a series. `change_24h` is in percent, null if it is unknown."""

    __tablename__ = "price_latest"

    series_id: int = column_types.key(Integer, "series.id")
    observed_at: datetime = column_types.time()
    price: float = column_types.number(null=False)
    market_cap: float | None = column_types.number()
    volume: float | None = column_types.number()
    change_24h: float | None = column_types.number()


class UpstreamPace(SQLModel, table=True):
    """The single row with which all processes space their calls; see ingestion.quota.pace."""

    __tablename__ = "upstream_pace"

    id: int = column_types.key(Integer)
    last_departure: datetime = column_types.time()
    paused_until: datetime = column_types.time()
    stretch: float = column_types.number(null=False)
    slowdowns: int = column_types.count()
    refusals_in_a_row: int = column_types.count()


class UpstreamCredits(SQLModel, table=True):
    """The credits spent in the UTC month that begins on `month`."""

    __tablename__ = "upstream_credits"

    month: date = column_types.key(Date)
    spent: int = column_types.count(BigInteger)


class RefreshRun(SQLModel, table=True):
    """One refresh run. `seconds_per_call` is the throttle's interval at the last update.

    `retries` and `seconds_waited` (the pauses after 429s) include calls that belong to no series.
    `note` describes the values of upstream that were dropped.
    """

    __tablename__ = "refresh_run"

    id: UUID = Field(primary_key=True)
    status: str = Field(sa_column=Column(Text, nullable=False, index=True))
    trigger: str = column_types.text()
    request: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False, server_default="{}"))
    started_at: datetime = column_types.time(now=True)
    finished_at: datetime | None = column_types.time(null=True)
    planned_calls: int = column_types.count()
    completed_calls: int = column_types.count()
    failed_calls: int = column_types.count()
    rows_inserted: int = column_types.count()
    rows_corrected: int = column_types.count()
    duplicates_dropped: int = column_types.count()
    retries: int = column_types.count()
    seconds_waited: float = column_types.seconds()
    seconds_per_call: float = column_types.seconds()
    error: str | None = column_types.text(null=True)
    note: str | None = column_types.text(null=True)


class RefreshRunItem(SQLModel, table=True):
    """One series of a run. `calls` counts all its calls, including refused ones and retries."""

    __tablename__ = "refresh_run_item"

    run_id: UUID = Field(foreign_key="refresh_run.id", primary_key=True, ondelete="CASCADE")
    series_id: int = column_types.key(Integer, "series.id")
    position: int = column_types.count()
    status: str = column_types.text()
    reason: str = column_types.text()
    calls: int = column_types.count()
    retries: int = column_types.count()
    seconds_waited: float = column_types.seconds()
    rows_inserted: int = column_types.count()
    rows_corrected: int = column_types.count()
    duplicates_dropped: int = column_types.count()
    error: str | None = column_types.text(null=True)
    finished_at: datetime | None = column_types.time(null=True)
    note: str | None = column_types.text(null=True)


class RefreshRunKey(SQLModel, table=True):
    """An idempotency key and its run. The key is deleted with the run."""

    __tablename__ = "refresh_run_key"

    key: str = column_types.key(Text)
    run_id: UUID = Field(
        foreign_key="refresh_run.id", ondelete="CASCADE", nullable=False, index=True
    )
