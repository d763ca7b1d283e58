"""The types of settings: each parses text or raises ValueError with one sentence."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote, urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    SecretStr,
)
from pydantic_settings import (
    NoDecode,
)

from models.postgres.connection import database_url
from server.config.addresses import normal_network
from server.config.origins import normal_origin
from server.config.text import unquoted

# a coin's id: no separators, brackets or quotes, as in other notations of lists
_NAME = re.compile(r"""[^\s,;|/\\?#%\[\]{}()<>"'`\x00-\x1f\x7f]{1,200}""")
_CODE = re.compile(r"[a-z0-9]{2,10}")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d)", re.ASCII)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SCHEMES = {"redis", "rediss"}


def _split(value: object) -> object:
    if not isinstance(value, str):
        return value
    parts = [unquoted(part.strip()) for part in value.split(",")]
    return tuple(dict.fromkeys(part for part in parts if part))


def _lower(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value.lower() for value in values))


def _coin_ids(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if not _NAME.fullmatch(value):
            raise ValueError(
                f"{value[:60]!r} cannot be a coin's id; write ids as in bitcoin,ethereum"
            )
    return values


def _codes(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if not _CODE.fullmatch(value):
            raise ValueError(f"{value[:60]!r} cannot be a currency; write codes as in usd,eur")
    return values


def _some(values: tuple[str, ...]) -> tuple[str, ...]:
    if not values:
        raise ValueError("name at least one")
    return values


def _tokens(value: object) -> object:
    if not isinstance(value, str):
        return value
    tokens = tuple(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))
    if value and not tokens:  # an unset READ_TOKENS would open all reads
        raise ValueError("there is no token between the commas")
    return tokens


def _origins(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(normal_origin(value) for value in values))


def _home(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ValueError(str(error)) from None


def _duration(value: object) -> object:
    if isinstance(value, str):
        form = _DURATION.fullmatch(value.strip())
        if form is None:
            raise ValueError("write a duration like 90s, 15m, 6h or 1d")
        try:
            value = timedelta(seconds=float(form[1]) * _UNITS[form[2]])
        except OverflowError:
            raise ValueError("that is longer than any clock will run") from None
    return value


def _longer_than_nothing(value: timedelta) -> timedelta:
    if not value:
        raise ValueError("a duration must be longer than 0")
    return value


def _url(value: SecretStr) -> SecretStr:
    try:
        database_url(value.get_secret_value())
    except ValueError as error:
        if "invalid literal" in str(error):
            # the message quotes the port, which may be a part of a password
            raise ValueError(
                "the port is not a number; in a user or a password write @ as %40 and : as %3A"
            ) from None
        raise
    return value


def _networks(values: tuple[str, ...]) -> tuple[str, ...]:
    """Check and normalise addresses and networks. Raises ValueError."""
    found = []
    for value in values:
        try:
            network = normal_network(value)
        except ValueError:
            raise ValueError(
                f"{value[:60]!r} is no address or network; write it like 10.0.0.7 or 10.0.0.0/8"
            ) from None
        found.append(str(network) if "/" in value else str(network.network_address))
    return tuple(found)


def _storage_url(value: SecretStr) -> SecretStr:
    """Check the URL; the error does not quote it, as it may have a password."""
    url = urlsplit(value.get_secret_value())
    try:
        usable = url.scheme in _SCHEMES and bool(url.hostname) and url.port != 0
    except ValueError:  # an invalid port
        usable = False
    if not usable:
        raise ValueError("write it like redis://host:6379/0, or rediss:// for TLS")
    return value


def password_of(value: SecretStr) -> str:
    """Return the password in a URL, "" without one."""
    return unquote(urlsplit(value.get_secret_value()).password or "")


_Names = Annotated[
    tuple[str, ...],
    NoDecode,
    BeforeValidator(_split),
    AfterValidator(_lower),
    AfterValidator(_some),
]
CoinIds = Annotated[_Names, AfterValidator(_coin_ids)]
CurrencyCodes = Annotated[_Names, AfterValidator(_codes)]
Folder = Annotated[Path, AfterValidator(_home)]
DatabaseUrl = Annotated[SecretStr, AfterValidator(_url)]
StorageUrl = Annotated[SecretStr, AfterValidator(_storage_url)]
Tokens = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_tokens)]
Origins = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_origins)]
Networks = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_networks)]
DurationOrNone = Annotated[timedelta, BeforeValidator(_duration)]
Duration = Annotated[DurationOrNone, AfterValidator(_longer_than_nothing)]
