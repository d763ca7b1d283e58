"""Series of which upstream has never given a price: since when, and what to say of it. Pure."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from models.prices.gaps import GAP_ROW, next_asks
from models.prices.hours import Rows, instant, micros


@dataclass(frozen=True, slots=True)
class Silence:
    """Since when a series was asked for in vain, how often, and from when on it is again."""

    since: datetime
    times: int
    until: datetime

    def sentence(self, error: str | None) -> str:
        """Say why the series is not asked for now; `error` is what the last refresh said of it."""
        times = "once" if self.times == 1 else f"{self.times} times"
        return (
            f"{error or 'CoinGecko has no prices of it.'} Asked for {times} since "
            f"{self.since:%Y-%m-%d %H:%M}Z; the next scheduled refresh after "
            f"{self.until:%Y-%m-%d %H:%M}Z asks again, refreshPrices at once."
        )


def silence_of(gaps: Rows, now: datetime) -> Silence | None:
    """Sum up the gaps of such a series at `now`; None where it was never asked for."""
    if not len(gaps):
        return None
    whole = np.zeros(1, GAP_ROW)
    whole["asked"], whole["asked_at"] = gaps["asked"].max(), gaps["asked_at"].max()
    whole["asked_since"] = gaps["asked_since"].min()
    return Silence(
        instant(int(whole["asked_since"][0])),
        int(whole["asked"][0]),
        instant(int(next_asks(whole, micros(now))[0])),
    )
