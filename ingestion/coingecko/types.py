"""The parsed responses of upstream: numpy arrays and dataclasses, no JSON."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Samples:
    """Observations of one quantity, in the order upstream sent them.

    `times` are milliseconds since 1970 (int64), `values` are float64 with NaN where upstream
    sent null. Both have the same length.
    """

    times: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Dropped:
    """Counts of the invalid points of a chart, by quantity.

    `ahead` counts points of any quantity whose time is in the future.
    """

    prices: int = 0
    market_caps: int = 0
    volumes: int = 0
    ahead: int = 0

    def __add__(self, other: "Dropped") -> "Dropped":
        return Dropped(
            self.prices + other.prices,
            self.market_caps + other.market_caps,
            self.volumes + other.volumes,
            self.ahead + other.ahead,
        )


@dataclass(frozen=True, slots=True)
class Chart:
    """One coin in one currency over a range: three arrays that may differ in length.

    They hold only valid points; `dropped` counts the others.
    """

    prices: Samples
    market_caps: Samples
    volumes: Samples
    dropped: Dropped = Dropped()


@dataclass(frozen=True, slots=True)
class Quote:
    """The newest price of one coin in one currency, in units of that currency.

    `change_24h` is in percent. None stands for a value that upstream did not give.
    """

    coin_id: str
    currency_code: str
    price: float
    market_cap: float | None
    volume: float | None
    change_24h: float | None
    observed_at: datetime


@dataclass(frozen=True, slots=True)
class CoinProfile:
    """A coin's profile at upstream. `description` is plain text.

    A field is None if upstream has no printable or valid value for it.
    """

    id: str
    symbol: str | None
    name: str | None
    description: str | None
    image_url: str | None
    website_url: str | None


@dataclass(frozen=True, slots=True)
class ListedCoin:
    """One entry of upstream's list of all coins. Symbols are not unique."""

    id: str
    symbol: str
    name: str


@dataclass(slots=True)
class CallStats:
    """The accumulated cost of calls. Several calls may share one object.

    `attempts` counts the requests sent, `retries` those among them that repeat a failed one,
    `rate_limited` the responses with a 429. `paused_seconds` is the time by which 429s, and other
    refusals with a `Retry-After`, delayed all calls.
    """

    attempts: int = 0
    retries: int = 0
    rate_limited: int = 0
    paused_seconds: float = 0.0
