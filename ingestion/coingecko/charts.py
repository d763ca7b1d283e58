"""Parses CoinGecko's market charts and drops invalid points.

Prices are required; market caps and volumes are optional. An invalid point is dropped and counted
without affecting other points. The whole response is rejected only if most of its prices are
invalid: its format has probably changed, so the remaining points cannot be trusted either.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from ingestion.coingecko.errors import BadAnswer
from ingestion.coingecko.types import Chart, Dropped, Samples
from models.prices.write_latest import MOST_AHEAD

FIRST_MOMENT = datetime(2009, 1, 1, tzinfo=UTC).timestamp()  # no coin is older than Bitcoin
# Outside this range, a day's mean in PostgreSQL and a change in percent could overflow.
LEAST_NUMBER, MOST_NUMBER = 1e-100, 1e100
_LAST_MILLIS = 2**53  # beyond this, a float cannot represent every integer
_MOST_UNUSABLE = 0.5  # share of the points of `prices`


def chart(answer: object, now: float) -> Chart:
    """Parse the three arrays of a market chart; `now` is in seconds since 1970.

    A point is invalid if it is not a pair of numbers, its value cannot be a price, or its time is
    before 2009 or more than MOST_AHEAD after `now`. A null price is valid and means "no price".
    Raises BadAnswer if there is no list `prices`, or if more than half of its points are invalid.
    """
    if not isinstance(answer, dict) or not isinstance(answer.get("prices"), list):
        raise BadAnswer("CoinGecko's chart has no list `prices`", status=200)
    points = answer["prices"]
    prices = _read(points, now)
    unusable = prices.malformed + prices.ahead
    if unusable > _MOST_UNUSABLE * len(points):
        raise BadAnswer(
            f"{unusable:,} of {len(points):,} points of CoinGecko's `prices` are invalid",
            status=200,
        )
    caps, volumes = (_read(answer.get(name), now) for name in ("market_caps", "total_volumes"))
    return Chart(
        prices=prices.samples,
        market_caps=caps.samples,
        volumes=volumes.samples,
        dropped=Dropped(
            prices=prices.malformed,
            market_caps=caps.malformed,
            volumes=volumes.malformed,
            ahead=prices.ahead + caps.ahead + volumes.ahead,
        ),
    )


@dataclass(frozen=True, slots=True)
class _Read:
    """The valid points of an array, and how many others were dropped and why."""

    samples: Samples
    malformed: int = 0
    ahead: int = 0


def _read(points: object, now: float) -> _Read:
    if not points and (points is None or isinstance(points, list)):
        return _Read(_NONE)
    if not isinstance(points, list):
        return _Read(_NONE, malformed=1)
    when, what = _numbers(points)
    # Negative values are invalid, and so are positive ones too small to be real.
    sound = np.isnan(what) | (what == 0) | ((what >= LEAST_NUMBER) & (what <= MOST_NUMBER))
    ahead = when > (now + MOST_AHEAD.total_seconds()) * 1000
    believed = sound & (when >= FIRST_MOMENT * 1000)
    late = int((believed & ahead).sum())
    kept = believed & ~ahead
    samples = Samples(when[kept].astype(np.int64), what[kept])
    return _Read(samples, len(points) - len(samples.times) - late, late)


_NONE = Samples(np.empty(0, np.int64), np.empty(0, np.float64))
_Floats = npt.NDArray[np.float64]


def _numbers(points: list[object]) -> tuple[_Floats, _Floats]:
    """Return times and values of all pairs of numbers among these points; NaN stands for null."""
    # Fast path: an array without invalid points takes a fraction of a millisecond.
    if (pairs := _columns(points)) is not None:
        return pairs
    sound: list[object] = [point for point in points if _is_pair(point)]
    return _columns(sound) or (np.empty(0), np.empty(0))


def _columns(points: list[object]) -> tuple[_Floats, _Floats] | None:
    """Return times and values of these points; None if any of them is not a pair of numbers."""
    if set(map(type, points)) != {list} or set(map(len, points)) != {2}:  # type: ignore[arg-type] # lists
        return None
    times, values = zip(*points, strict=True)
    # Exact types, because isinstance(True, int) holds and numpy would convert the string "1".
    if not set(map(type, times)) <= {int, float}:
        return None
    if not set(map(type, values)) <= {int, float, type(None)}:
        return None
    try:
        when, what = (np.fromiter(each, np.float64, len(points)) for each in (times, values))
    except OverflowError:
        return None
    # A null means "no price"; a NaN, which is not valid JSON, makes the point invalid.
    return (when, what) if np.isnan(what).sum() == values.count(None) else None


def _is_pair(point: object) -> bool:
    if type(point) is not list or len(point) != 2:  # noqa: PLR2004 - a pair
        return False
    time, value = point
    if type(time) not in {int, float} or not abs(time) <= _LAST_MILLIS:
        return False
    if value is None:
        return True
    return type(value) in {int, float} and abs(value) <= MOST_NUMBER
