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
    Float,
    ForeignKey,
    Identity,
    Integer,
    Text,
    UniqueConstraint,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

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
    FAILED = "FAILED"
    INTERRUPTED = "INTERRUPTED"


class RefreshTrigger(StrEnum):
    """Who asked for a run."""

    MUTATION = "MUTATION"
    COMMAND = "COMMAND"
    STARTUP = "STARTUP"
    SCHEDULE = "SCHEDULE"


def _time(*, null: bool = False, now: bool = False) -> Any:  # noqa: ANN401 - SQLModel's Field is Any
    default = func.now() if now else None
    return Field(
        default=None,
        sa_column=Column(DateTime(timezone=True), nullable=null, server_default=default),
    )


def _number(*, null: bool = True) -> Any:  # noqa: ANN401 - SQLModel's Field is Any
    return Field(default=None, sa_column=Column(Float(53), nullable=null))


def _text(*, null: bool = False) -> Any:  # noqa: ANN401 - SQLModel's Field is Any
    return Field(default=None, sa_column=Column(Text, nullable=null))


def _key(kind: Any, refers_to: str | None = None) -> Any:  # noqa: ANN401 - SQLModel's Field is Any
    refers = (ForeignKey(refers_to, ondelete="CASCADE"),) if refers_to else ()
    return Field(sa_column=Column(kind, *refers, primary_key=True, autoincrement=False))


def _count() -> Any:  # noqa: ANN401 - SQLModel's Field is Any
    return Field(default=0, sa_column=Column(Integer, nullable=False, server_default="0"))


def _seconds() -> Any:  # noqa: ANN401 - SQLModel's Field is Any
    return Field(default=0.0, sa_column=Column(Float(53), nullable=False, server_default="0"))


class Coin(SQLModel, table=True):
    id: str = _key(Text)
    symbol: str = _text()
    name: str = _text()
    created_at: datetime = _time(now=True)
    updated_at: datetime = _time(now=True)


class CoinMetadata(SQLModel, table=True):
    __tablename__ = "coin_metadata"

    coin_id: str = _key(Text, "coin.id")
    description: str | None = _text(null=True)
    image_url: str | None = _text(null=True)
    website_url: str | None = _text(null=True)
    updated_at: datetime = _time(now=True)


class Currency(SQLModel, table=True):
    code: str = _key(Text)
    name: str = _text()
    symbol: str = _text()


class Series(SQLModel, table=True):
    """One coin in one currency.

    `history_from` is how far back upstream has been asked: hours before it are unknown, hours
    after it that are not there were missing upstream. `daily_from` is how far back upstream has
    been asked for the days before that. `charted_to` is the newest hour that a chart of upstream's
    gave: the samples of later hours are provisional, from live prices. `deployment_revision` is
    the deployment's one as of the last change of this series.
    """

    __table_args__ = (UniqueConstraint("coin_id", "currency_code"),)

    id: int = Field(default=None, sa_column=Column(Integer, Identity(), primary_key=True))
    coin_id: str = Field(sa_column=Column(Text, ForeignKey("coin.id"), nullable=False))
    currency_code: str = Field(sa_column=Column(Text, ForeignKey("currency.code"), nullable=False))
    revision: int = Field(
        default=0, sa_column=Column(BigInteger, nullable=False, server_default="0")
    )
    deployment_revision: int = Field(
        default=0, sa_column=Column(BigInteger, nullable=False, server_default="0", index=True)
    )
    history_from: datetime | None = _time(null=True)
    daily_from: datetime | None = _time(null=True)
    first_bucket: datetime | None = _time(null=True)
    last_bucket: datetime | None = _time(null=True)
    charted_to: datetime | None = _time(null=True)
    last_success_at: datetime | None = _time(null=True)
    last_error: str | None = _text(null=True)
    last_error_at: datetime | None = _time(null=True)
    consecutive_failures: int = _count()


class Deployment(SQLModel, table=True):
    """The one row whose `revision` grows with each transaction that changes any series."""

    __table_args__ = (CheckConstraint("id = 1", name="ck_deployment_one_row"),)

    id: int = _key(Integer)
    revision: int = Field(
        default=0, sa_column=Column(BigInteger, nullable=False, server_default="0")
    )


class PriceHourly(SQLModel, table=True):
    __tablename__ = "price_hourly"

    series_id: int = _key(Integer)
    bucket: datetime = _key(DateTime(timezone=True))
    observed_at: datetime = _time()
    price: float = _number(null=False)
    market_cap: float | None = _number()
    volume: float | None = _number()


class PriceDaily(SQLModel, table=True):
    """`price` is the mean of the day's hours, market cap and volume are its last ones.

    A day that begins before the hourly history has one sample: upstream's price at its start.
    """

    __tablename__ = "price_daily"

    series_id: int = _key(Integer)
    day: date = _key(Date)
    price: float = _number(null=False)
    open: float = _number(null=False)
    high: float = _number(null=False)
    low: float = _number(null=False)
    close: float = _number(null=False)
    market_cap: float | None = _number()
    volume: float | None = _number()
    samples: int = _count()


class PriceGap(SQLModel, table=True):
    """Hours, [starts, ends), that upstream was asked for and did not give, and how often."""

    __tablename__ = "price_gap"

    series_id: int = _key(Integer)
    starts: datetime = _key(DateTime(timezone=True))
    ends: datetime = _time()
    asked: int = _count()


class PriceLatest(SQLModel, table=True):
    __tablename__ = "price_latest"

    series_id: int = _key(Integer, "series.id")
    observed_at: datetime = _time()
    price: float = _number(null=False)
    market_cap: float | None = _number()
    volume: float | None = _number()
    change_24h: float | None = _number()


class UpstreamPace(SQLModel, table=True):
    """The one row by which all processes space their calls: see ingestion.pace."""

    __tablename__ = "upstream_pace"

    id: int = _key(Integer)
    last_departure: datetime = _time()
    paused_until: datetime = _time()
    stretch: float = _number(null=False)
    slowdowns: int = _count()
    refusals_in_a_row: int = _count()


class UpstreamCredits(SQLModel, table=True):
    """What calls have cost in the UTC month that begins on this day."""

    __tablename__ = "upstream_credits"

    month: date = _key(Date)
    spent: int = Field(default=0, sa_column=Column(BigInteger, nullable=False, server_default="0"))


class RefreshRun(SQLModel, table=True):
    """One refresh. `seconds_per_call` is the pace of the throttle when last seen.

    `retries` and `seconds_waited` (for 429) are of all its calls, those for no series included.
    """

    __tablename__ = "refresh_run"

    id: UUID = Field(primary_key=True)
    status: str = Field(sa_column=Column(Text, nullable=False, index=True))
    trigger: str = _text()
    request: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False, server_default="{}"))
    started_at: datetime = _time(now=True)
    finished_at: datetime | None = _time(null=True)
    planned_calls: int = _count()
    completed_calls: int = _count()
    failed_calls: int = _count()
    rows_inserted: int = _count()
    rows_corrected: int = _count()
    duplicates_dropped: int = _count()
    retries: int = _count()
    seconds_waited: float = _seconds()
    seconds_per_call: float = _seconds()
    error: str | None = _text(null=True)


class RefreshRunItem(SQLModel, table=True):
    """One series of a run. `calls` are all that were made for it, refused ones and retries too."""

    __tablename__ = "refresh_run_item"

    run_id: UUID = Field(foreign_key="refresh_run.id", primary_key=True, ondelete="CASCADE")
    series_id: int = _key(Integer, "series.id")
    position: int = _count()
    status: str = _text()
    reason: str = _text()
    calls: int = _count()
    retries: int = _count()
    seconds_waited: float = _seconds()
    rows_inserted: int = _count()
    rows_corrected: int = _count()
    duplicates_dropped: int = _count()
    error: str | None = _text(null=True)
    finished_at: datetime | None = _time(null=True)


class RefreshRunKey(SQLModel, table=True):
    """An idempotency key and the run that answers it, for as long as that run is kept."""

    __tablename__ = "refresh_run_key"

    key: str = _key(Text)
    run_id: UUID = Field(
        foreign_key="refresh_run.id", ondelete="CASCADE", nullable=False, index=True
    )
