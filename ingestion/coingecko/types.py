"""What an upstream answers, in our own words: plain arrays and quotes, no JSON."""

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
    """How many points of a chart make no sense, by what they are of.

    `ahead` are those whose time lies in the future, whatever they are of.
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

    They hold only sound points; `dropped` counts the others.
    """

    prices: Samples
    market_caps: Samples
    volumes: Samples
    dropped: Dropped = Dropped()


@dataclass(frozen=True, slots=True)
class Quote:
    """The newest known price of one coin in one currency. `change_24h` is in percent."""

    coin_id: str
    currency_code: str
    price: float
    market_cap: float | None
    volume: float | None
    change_24h: float | None
    observed_at: datetime


@dataclass(frozen=True, slots=True)
class CoinProfile:
    """What upstream says of a coin itself. `description` is plain text.

    `symbol` and `name` are None where upstream has none that can be shown.
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
    """What calls have cost so far. One object may be shared by several calls.

    `attempts` are the calls that left, `retries` those of them that were made again for one that
    had failed. `paused_seconds` is by how much 429s, and other refusals with a `Retry-After`, held
    all calls up.
    """

    attempts: int = 0
    retries: int = 0
    rate_limited: int = 0
    paused_seconds: float = 0.0
