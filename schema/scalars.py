"""The scalars DateTime and BigInt."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NewType, TypeVar

import numpy as np
import numpy.typing as npt
import strawberry
from strawberry.types.scalar import ScalarDefinition

from resolvers.errors import BadInputError

DateTime = NewType("DateTime", datetime)
BigInt = NewType("BigInt", int)
T = TypeVar("T")

_FORM = re.compile(
    r"\d{4}-\d{2}-\d{2}"
    r"(?P<time>[Tt ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(?P<offset>[Zz]|[+-]\d{2}:\d{2})?)?",
    re.ASCII,
)
_FIRST_YEAR, _LAST_YEAR = 1970, 2200
_HELP = "use RFC 3339, for example 2026-01-31T00:00:00Z, or a date without a time for midnight UTC"


def parse_datetime(value: Any) -> datetime:  # noqa: ANN401 - any JSON
    """Parse RFC 3339. A date without a time means midnight UTC.

    Raises BadInputError, also for a time without an offset and for years outside of 1970 to 2200.
    """
    form = _FORM.fullmatch(value) if isinstance(value, str) else None
    if form is None:
        raise BadInputError(f"{_show(value)} is not a DateTime: {_HELP}.")
    if form["time"] and not form["offset"]:
        raise BadInputError(f"{value!r} has no offset: add Z for UTC, or +hh:mm.")
    try:
        instant = datetime.fromisoformat(value.upper().replace(" ", "T"))
        instant = instant.astimezone(UTC) if instant.tzinfo else instant.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise BadInputError(f"{value!r} is not an existing date: {_HELP}.") from None
    if not _FIRST_YEAR <= instant.year <= _LAST_YEAR:
        raise BadInputError(f"{value!r} is outside the years {_FIRST_YEAR} to {_LAST_YEAR}.")
    return instant


def serialize_datetime(value: Any) -> str:  # noqa: ANN401 - a time, or text
    """Format as RFC 3339 in UTC without trailing zeros. Text passes unchanged."""
    if isinstance(value, str):
        return value
    text: str = value.astimezone(UTC).replace(tzinfo=None).isoformat()
    return text.rstrip("0") + "Z" if "." in text else text + "Z"


def render_times(times: npt.NDArray[np.datetime64]) -> list[str]:
    """Format an array of times, with the same result as `serialize_datetime`."""
    hours = _whole_hours(times)
    if hours is not None:
        from_grid: list[str] = _from_grid(_texts, hours)
        return from_grid
    micros = times.astype("datetime64[us]")
    if not (micros.astype(np.int64) % 1_000_000).any():
        whole: list[str] = np.datetime_as_string(times, unit="s", timezone="UTC").tolist()
        return whole
    texts: list[str] = np.datetime_as_string(micros).tolist()
    return [text.rstrip("0").rstrip(".") + "Z" for text in texts]


def encode_times(times: npt.NDArray[np.datetime64]) -> list[bytes]:
    """Return the same as JSON strings."""
    hours = _whole_hours(times)
    if hours is not None:
        from_grid: list[bytes] = _from_grid(_quoted, hours)
        return from_grid
    return [b'"%b"' % text.encode() for text in render_times(times)]


_HOUR_MICROS = 3_600_000_000
_GRID_HOURS = 8192  # about a year
_GRIDS = 32


def _whole_hours(times: npt.NDArray[np.datetime64]) -> npt.NDArray[np.int64] | None:
    """Return hours since 1970; None unless all are whole and within about 30 years."""
    hours, rest = np.divmod(times.astype("datetime64[us]").astype(np.int64), _HOUR_MICROS)
    if not len(hours) or rest.any() or np.ptp(hours) >= (_GRIDS - 1) * _GRID_HOURS:
        return None
    return hours


def _from_grid(
    grid: Callable[[int], npt.NDArray[np.object_]], hours: npt.NDArray[np.int64]
) -> list[Any]:
    """Look whole hours up in grids, in which each hour is formatted once."""
    first, last = int(hours.min()) // _GRID_HOURS, int(hours.max()) // _GRID_HOURS
    grids = [grid(block) for block in range(first, last + 1)]
    found: list[Any] = np.concatenate(grids)[hours - first * _GRID_HOURS].tolist()
    return found


@lru_cache(maxsize=_GRIDS)
def _texts(block: int) -> npt.NDArray[np.object_]:
    hours = np.arange(block * _GRID_HOURS, (block + 1) * _GRID_HOURS).astype("datetime64[h]")
    return np.datetime_as_string(hours, unit="s", timezone="UTC").astype(object)


@lru_cache(maxsize=_GRIDS)
def _quoted(block: int) -> npt.NDArray[np.object_]:
    return np.array([b'"%b"' % text.encode() for text in _texts(block)], dtype=object)


def given(value: T | None) -> T | None:
    """Return the value of an optional argument; None if it was left out."""
    return None if value is strawberry.UNSET else value


def moment(value: datetime | None) -> DateTime | None:
    """Return a nullable time as the scalar's type."""
    return None if value is None else DateTime(value)


def parse_bigint(value: Any) -> int:  # noqa: ANN401 - any JSON
    """Return the value. Raises BadInputError unless it is an integer of 64 bits."""
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**63) <= value < 2**63:
        raise BadInputError(f"{_show(value)} is not an integer of 64 bits.")
    return value


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"  # noqa: PLR2004 - a line's worth


SCALARS: dict[object, ScalarDefinition] = {
    DateTime: strawberry.scalar(
        name="DateTime",
        description="A point in time in RFC 3339 format, always in UTC in results, for example "
        "`2026-01-31T14:00:00Z`. As an input, a date without a time means midnight UTC, and a "
        "time requires an offset (`Z` or `+02:00`). Years 1970 to 2200.",
        specified_by_url="https://datatracker.ietf.org/doc/html/rfc3339",
        serialize=serialize_datetime,
        parse_value=parse_datetime,
    ),
    BigInt: strawberry.scalar(
        name="BigInt",
        description="A signed 64-bit integer as a JSON number. JavaScript represents integers "
        "above 2^53 inexactly.",
        serialize=int,
        parse_value=parse_bigint,
    ),
}
