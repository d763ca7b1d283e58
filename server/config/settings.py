"""The settings, read from the environment and `.env`."""

import os
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    HttpUrl,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from ingestion.coingecko.redaction import login_secrets
from models.postgres.connection import database_url
from schema.limits import Limits
from server.config import env_file
from server.config.hints import hints
from server.config.limits import LimitSettings
from server.config.proxies import proxy_secrets
from server.config.root_path import normal_root_path
from server.config.secret_files import SecretFileError, read_secret, with_secrets_of_files
from server.config.text import UnquotedSource, check_text
from server.config.types import (
    CoinIds,
    CurrencyCodes,
    DatabaseUrl,
    Duration,
    DurationOrNone,
    Folder,
    Networks,
    Origins,
    StorageUrl,
    Tokens,
    password_of,
)

ENV_FILE = Path(".env")
ApiPlan = Literal["keyless", "demo", "pro"]

# CoinGecko's limits. The keyless one is shared by address and drops to 5 a minute under load.
_REQUESTS_PER_MINUTE = {"keyless": 6.0, "demo": 30.0, "pro": 300.0}

DEFAULT_COINS = (
    "bitcoin,ethereum,tether,ripple,binancecoin,solana,usd-coin,dogecoin,cardano,tron,chainlink"
)
DEFAULT_CURRENCIES = "usd,eur,gbp,jpy"


class SettingsError(Exception):
    """Settings are invalid. The message has one line for each."""


class Settings(LimitSettings):
    """All settings, each named like its variable in lower case. An empty value is unset."""

    model_config = SettingsConfigDict(
        frozen=True,
        env_file=ENV_FILE,
        env_file_encoding="utf-8-sig",
        env_ignore_empty=True,
        extra="ignore",
        hide_input_in_errors=True,
    )

    database_url: DatabaseUrl | None = None
    database_pool_size: int | None = Field(default=None, ge=1, le=1000)
    database_url_file: Path | None = None
    database_password: SecretStr | None = None
    database_password_file: Path | None = None
    data_dir: Folder = Path(".coingraph")
    refresh_tokens: Tokens = ()
    refresh_tokens_file: Path | None = None
    read_tokens: Tokens = ()
    read_tokens_file: Path | None = None
    coingecko_base_url: HttpUrl | None = Field(default=None, repr=False)  # a password in it
    coingecko_base_url_file: Path | None = None
    coingecko_api_key: SecretStr | None = None
    coingecko_api_key_file: Path | None = None
    coingecko_plan: ApiPlan | None = None
    coingecko_requests_per_minute: float | None = Field(default=None, gt=0, le=1_000_000)
    coingecko_monthly_credits: int | None = Field(default=None, ge=1, le=10**12)
    coins: CoinIds = tuple(DEFAULT_COINS.split(","))
    currencies: CurrencyCodes = tuple(DEFAULT_CURRENCIES.split(","))
    history_days: int = Field(default=90, ge=1, le=3650)
    stale_after: Duration = timedelta(hours=3)
    refresh_every: Duration | None = None
    live_every: Duration | None = None
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    workers: int = Field(default=1, ge=1, le=32)
    cors_origins: Origins = ()
    trusted_proxies: Networks = ()
    root_path: Annotated[str, AfterValidator(normal_root_path)] = ""
    keep_alive: Duration = timedelta(seconds=75)
    rate_limit_points: int = Field(default=0, ge=0, le=10**12)
    rate_limit_storage: StorageUrl | None = None
    rate_limit_storage_file: Path | None = None
    max_connections_per_address: int = Field(default=2000, ge=0, le=1_000_000)
    operations_per_connection: int = Field(default=20, ge=1, le=1000)
    max_body_bytes: int = Field(default=100_000, ge=1_000, le=10_000_000)
    cache_megabytes: int = Field(default=64, ge=0, le=1_000_000)
    cache_max_age: DurationOrNone = timedelta(seconds=5)
    cache_stale_while_revalidate: DurationOrNone = timedelta(seconds=30)
    operation_timeout: Duration = timedelta(seconds=10)
    log_format: Literal["console", "json"] = "console"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Strip quotes from values of the environment; `.env` has its own rules for quotes."""
        del file_secret_settings
        return init_settings, UnquotedSource(settings_cls, env_settings), dotenv_settings

    @model_validator(mode="before")
    @classmethod
    def _secrets_of_files(cls, values: dict[str, Any]) -> dict[str, Any]:
        return with_secrets_of_files(values, cls.model_fields)

    @field_validator("*", mode="before")
    @classmethod
    def _text(cls, value: object, info: ValidationInfo) -> object:
        if isinstance(value, str) and info.field_name:
            return check_text(value, cls.model_fields[info.field_name])
        return value

    @model_validator(mode="after")
    def _a_password_wants_an_address(self) -> Self:
        if self.database_password and not self.database_url:
            raise ValueError("DATABASE_PASSWORD: is set, but DATABASE_URL is not; set both")
        return self

    @model_validator(mode="after")
    def _a_key_wants_a_plan(self) -> Self:
        if self.coingecko_api_key and self.coingecko_plan == "keyless":
            raise ValueError(
                "COINGECKO_PLAN: keyless sends no key, but COINGECKO_API_KEY is set; "
                "set the plan to demo or pro, or remove the key"
            )
        return self

    @model_validator(mode="after")
    def _every_operation_can_be_paid(self) -> Self:
        if 0 < self.rate_limit_points < self.max_cost:
            raise ValueError(
                f"RATE_LIMIT_POINTS: must be 0, or at least MAX_COST ({self.max_cost:,}), or an "
                "operation that is allowed could never be answered"
            )
        return self

    @property
    def plan(self) -> ApiPlan:
        """CoinGecko's plan. A key without COINGECKO_PLAN counts as a demo key."""
        return self.coingecko_plan or ("demo" if self.coingecko_api_key else "keyless")

    @property
    def limits(self) -> Limits:
        """The limits of operations, for the schema."""
        return self.limits_of(operation_seconds=self.operation_timeout.total_seconds())

    def database_secret(self) -> Callable[[], str | None] | None:
        """Return a function that reads the database's password for each new connection.

        It reads a file each time, so a rotated password needs no restart; it raises
        SecretFileError. None: the URL has the password, if any.
        """
        password, whole = self.database_password_file, self.database_url_file
        if password is not None:
            return partial(read_secret, "DATABASE_PASSWORD_FILE", password)
        if self.database_password is not None:
            return self.database_password.get_secret_value
        return None if whole is None else partial(_password_in, whole)

    @property
    def secrets(self) -> set[str]:
        """All secrets, to be redacted in logs."""
        url, base, key = self.database_url, self.coingecko_base_url, self.coingecko_api_key
        given = [each.get_secret_value() for each in (*self.refresh_tokens, *self.read_tokens)]
        given += [key.get_secret_value()] if key else []
        given += [self.database_password.get_secret_value()] if self.database_password else []
        given += [str(database_url(url.get_secret_value()).password or "")] if url else []
        given += login_secrets(str(base)) if base else []
        given += [password_of(self.rate_limit_storage)] if self.rate_limit_storage else []
        return {secret for secret in given if secret} | proxy_secrets()

    @property
    def requests_per_minute(self) -> float:
        """The rate of calls to CoinGecko: as set, else by plan."""
        return self.coingecko_requests_per_minute or _REQUESTS_PER_MINUTE[self.plan]


def _password_in(path: Path) -> str | None:
    """Read the password in the database URL of a file. Raises SecretFileError."""
    text = read_secret("DATABASE_URL_FILE", path)
    try:
        password = database_url(text).password
    except ValueError:  # its message may quote a part of the URL
        raise SecretFileError(f"DATABASE_URL_FILE: {path} holds no postgresql:// address") from None
    return None if password is None else str(password)


def load_settings(**given: Any) -> Settings:  # noqa: ANN401 - the fields of Settings
    """Read the environment and `.env`; `given` overrides both. Raises SettingsError."""
    try:
        env_file.check_env_file(ENV_FILE)
    except ValueError as error:
        raise SettingsError(str(error)) from None
    try:
        return Settings(**given)
    except ValidationError as error:
        raise SettingsError("\n".join(_line(dict(e)) for e in error.errors())) from None


def settings_hints() -> list[str]:
    """Return hints about the environment and `.env`, one line each."""
    return hints(Settings.model_fields, os.environ, ENV_FILE)


def _line(error: dict[str, Any]) -> str:
    message = str(error["msg"]).removeprefix("Value error, ")
    if not error["loc"]:
        return message
    name = str(error["loc"][0]).upper()
    if message[1:2].islower():  # a sentence, not an abbreviation
        message = message[0].lower() + message[1:]
    return f"{name}: {message}"
