"""Series for which upstream has never given a price: when to request them again. Pure."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from models.prices.gaps import GAP_ROW, next_asks
from models.prices.hours import Rows, instant, micros


@dataclass(frozen=True, slots=True)
class Silence:
    """The unsuccessful requests for a series: the first, their number, and when the next is due."""

    since: datetime
    times: int
    until: datetime

    def sentence(self, error: str | None) -> str:
        """Explain why the series is not requested now; `error` is the last refresh's message."""
        times = "once" if self.times == 1 else f"{self.times} times"
        return (
            f"{error or 'CoinGecko has no prices of it.'} Requested {times} since "
            f"{self.since:%Y-%m-%d %H:%M}Z; the next scheduled refresh after "
            f"{self.until:%Y-%m-%d %H:%M}Z requests it again, refreshPrices does so at once."
        )


def silence_of(gaps: Rows, now: datetime) -> Silence | None:
    """Combine the gaps of such a series; None if it was never requested."""
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
