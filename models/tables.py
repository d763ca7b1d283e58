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

from models import fields

SQLModel.metadata.naming_convention = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class RefreshStatus(StrEnum):
    """How a refresh run stands."""

    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    PARTIAL = "PARTIAL"
    FAILED = "FAILED"
    INTERRUPTED = "INTERRUPTED"


class ItemStatus(StrEnum):
    """What became of one series in a run."""

    PENDING = "PENDING"
    SUCCEEDED = "SUCCEEDED"
    PARTIAL = "PARTIAL"
    FAILED = "FAILED"
    INTERRUPTED = "INTERRUPTED"


class RefreshTrigger(StrEnum):
    """Who asked for a run."""

    MUTATION = "MUTATION"
    COMMAND = "COMMAND"
    STARTUP = "STARTUP"
    SCHEDULE = "SCHEDULE"


class Coin(SQLModel, table=True):
    id: str = fields.key(Text)
    symbol: str = fields.text()
    name: str = fields.text()
    created_at: datetime = fields.time(now=True)
    updated_at: datetime = fields.time(now=True)


class CoinMetadata(SQLModel, table=True):
    __tablename__ = "coin_metadata"

    coin_id: str = fields.key(Text, "coin.id")
    description: str | None = fields.text(null=True)
    image_url: str | None = fields.text(null=True)
    website_url: str | None = fields.text(null=True)
    updated_at: datetime = fields.time(now=True)


class Currency(SQLModel, table=True):
    code: str = fields.key(Text)
    name: str = fields.text()
    symbol: str = fields.text()


class Series(SQLModel, table=True):
    """One coin in one currency.

    `history_from` is how far back upstream has given hours: the start of the oldest window that
    brought any. `daily_from` is how far back upstream has been asked for the days before that.
    PriceGap and PriceGapDaily have what upstream did not give. `charted_to` is the newest hour that
    a chart of upstream's gave: the samples of later hours are provisional, from live prices.
    `deployment_revision` is the deployment's one as of the last change of this series.
    """

    __table_args__ = (UniqueConstraint("coin_id", "currency_code"),)

    id: int = Field(default=None, sa_column=Column(Integer, Identity(), primary_key=True))
    coin_id: str = Field(sa_column=Column(Text, ForeignKey("coin.id"), nullable=False))
    currency_code: str = Field(sa_column=Column(Text, ForeignKey("currency.code"), nullable=False))
    revision: int = fields.count(BigInteger)
    deployment_revision: int = fields.count(BigInteger, index=True)
    history_from: datetime | None = fields.time(null=True)
    daily_from: datetime | None = fields.time(null=True)
    first_bucket: datetime | None = fields.time(null=True)
    last_bucket: datetime | None = fields.time(null=True)
    charted_to: datetime | None = fields.time(null=True)
    last_success_at: datetime | None = fields.time(null=True)
    last_error: str | None = fields.text(null=True)
    last_error_at: datetime | None = fields.time(null=True)
    consecutive_failures: int = fields.count()


class Deployment(SQLModel, table=True):
    """The one row whose `revision` grows with each transaction that changes any series."""

    __table_args__ = (CheckConstraint("id = 1", name="ck_deployment_one_row"),)

    id: int = fields.key(Integer)
    revision: int = fields.count(BigInteger)


class PriceHourly(SQLModel, table=True):
    __tablename__ = "price_hourly"

    series_id: int = fields.key(Integer)
    bucket: datetime = fields.key(DateTime(timezone=True))
    observed_at: datetime = fields.time()
    price: float = fields.number(null=False)
    market_cap: float | None = fields.number()
    volume: float | None = fields.number()


class PriceDaily(SQLModel, table=True):
    """`price` is the mean of the day's hours, market cap and volume are its last ones.

    A day that begins before the hourly history has one sample: upstream's price at its start.
    """

    __tablename__ = "price_daily"

    series_id: int = fields.key(Integer)
    day: date = fields.key(Date)
    price: float = fields.number(null=False)
    open: float = fields.number(null=False)
    high: float = fields.number(null=False)
    low: float = fields.number(null=False)
    close: float = fields.number(null=False)
    market_cap: float | None = fields.number()
    volume: float | None = fields.number()
    samples: int = fields.count()


class PriceGap(SQLModel, table=True):
    """Hours, [starts, ends), that upstream was asked for and did not give.

    `asked` counts the asks between `asked_since` and `asked_at`, those within an hour of each other
    as one; `answered` those of them that an answer with prices left out. See models.gaps.
    """

    __tablename__ = "price_gap"

    series_id: int = fields.key(Integer)
    starts: datetime = fields.key(DateTime(timezone=True))
    ends: datetime = fields.time()
    asked: int = fields.count()
    answered: int = fields.count()
    asked_since: datetime = fields.time()
    asked_at: datetime = fields.time()


class PriceGapDaily(SQLModel, table=True):
    """Days, [starts, ends), that upstream's daily points left out; the columns of PriceGap."""

    __tablename__ = "price_gap_daily"

    series_id: int = fields.key(Integer)
    starts: datetime = fields.key(DateTime(timezone=True))
    ends: datetime = fields.time()
    asked: int = fields.count()
    answered: int = fields.count()
    asked_since: datetime = fields.time()
    asked_at: datetime = fields.time()


class PriceLatest(SQLModel, table=True):
    __tablename__ = "price_latest"

    series_id: int = fields.key(Integer, "series.id")
    observed_at: datetime = fields.time()
    price: float = fields.number(null=False)
    market_cap: float | None = fields.number()
    volume: float | None = fields.number()
    change_24h: float | None = fields.number()


class UpstreamPace(SQLModel, table=True):
    """The one row by which all processes space their calls: see ingestion.quota.pace."""

    __tablename__ = "upstream_pace"

    id: int = fields.key(Integer)
    last_departure: datetime = fields.time()
    paused_until: datetime = fields.time()
    stretch: float = fields.number(null=False)
    slowdowns: int = fields.count()
    refusals_in_a_row: int = fields.count()


class UpstreamCredits(SQLModel, table=True):
    """What calls have cost in the UTC month that begins on this day."""

    __tablename__ = "upstream_credits"

    month: date = fields.key(Date)
    spent: int = fields.count(BigInteger)


class RefreshRun(SQLModel, table=True):
    """One refresh. `seconds_per_call` is the pace of the throttle when last seen.

    `retries` and `seconds_waited` (for 429) are of all its calls, those for no series included.
    `note` says what was not kept of upstream's answers.
    """

    __tablename__ = "refresh_run"

    id: UUID = Field(primary_key=True)
    status: str = Field(sa_column=Column(Text, nullable=False, index=True))
    trigger: str = fields.text()
    request: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False, server_default="{}"))
    started_at: datetime = fields.time(now=True)
    finished_at: datetime | None = fields.time(null=True)
    planned_calls: int = fields.count()
    completed_calls: int = fields.count()
    failed_calls: int = fields.count()
    rows_inserted: int = fields.count()
    rows_corrected: int = fields.count()
    duplicates_dropped: int = fields.count()
    retries: int = fields.count()
    seconds_waited: float = fields.seconds()
    seconds_per_call: float = fields.seconds()
    error: str | None = fields.text(null=True)
    note: str | None = fields.text(null=True)


class RefreshRunItem(SQLModel, table=True):
    """One series of a run. `calls` are all that were made for it, refused ones and retries too."""

    __tablename__ = "refresh_run_item"

    run_id: UUID = Field(foreign_key="refresh_run.id", primary_key=True, ondelete="CASCADE")
    series_id: int = fields.key(Integer, "series.id")
    position: int = fields.count()
    status: str = fields.text()
    reason: str = fields.text()
    calls: int = fields.count()
    retries: int = fields.count()
    seconds_waited: float = fields.seconds()
    rows_inserted: int = fields.count()
    rows_corrected: int = fields.count()
    duplicates_dropped: int = fields.count()
    error: str | None = fields.text(null=True)
    finished_at: datetime | None = fields.time(null=True)
    note: str | None = fields.text(null=True)


class RefreshRunKey(SQLModel, table=True):
    """An idempotency key and the run that answers it, for as long as that run is kept."""

    __tablename__ = "refresh_run_key"

    key: str = fields.key(Text)
    run_id: UUID = Field(
        foreign_key="refresh_run.id", ondelete="CASCADE", nullable=False, index=True
    )
