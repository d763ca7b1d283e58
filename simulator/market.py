"""The simulated market: prices as pure functions of time."""

from dataclasses import dataclass

import numpy as np

from simulator.catalog import CURRENCIES, SimulatedCoin
from simulator.noise import Floats, Ints, growth, key, ripple, wander

_MARKET_VOLATILITY = 0.018
_RATE_VOLATILITY = 0.004
# Each coin's exchange rate deviates from the common one by up to this share, so that the rates
# implied by two coins differ by up to 0.24 %: prices in one currency do not follow from another's.
_STRAY = 0.0012
_STRAY_PERIOD_MS = 6 * 3_600_000
# A rolling 24-hour volume does not move within minutes, and returns to its level within weeks.
_VOLUME_OCTAVES = range(5, 13)
_VOLUME_VOLATILITY = 0.25
_SUPPLY_OCTAVES = range(10, 17)
_SUPPLY_VOLATILITY = 0.0002

_DAY_S = 86_400
_UPDATE_EVERY_S = 60
_UPDATE_LAG_S = 20


@dataclass(frozen=True, slots=True)
class Quotes:
    """Prices, market caps and rolling 24-hour volumes at the same instants, in one currency."""

    prices: Floats
    market_caps: Floats
    volumes: Floats


@dataclass(frozen=True, slots=True)
class Market:
    """The market of one `seed`. `started_at` (UNIX seconds) determines only the listing times."""

    seed: int
    started_at: float

    def prices(self, coin: SimulatedCoin, currency: str, times: Ints) -> Floats:
        """Return prices at `times` (milliseconds since 1970), also before the coin's listing."""
        moves = wander((self.seed, "coin", coin.id), times, coin.volatility)
        if coin.beta:
            moves += coin.beta * wander((self.seed, "market"), times, _MARKET_VOLATILITY)
        return coin.level * growth(moves) * self._rate(coin, currency, times)

    def quotes(self, coin: SimulatedCoin, currency: str, times: Ints) -> Quotes:
        """Return prices, market caps and volumes at `times` (milliseconds since 1970)."""
        prices = self.prices(coin, currency, times)
        issued = wander((self.seed, "supply", coin.id), times, _SUPPLY_VOLATILITY, _SUPPLY_OCTAVES)
        worth = prices * coin.supply * growth(issued)
        trade = wander((self.seed, "volume", coin.id), times, _VOLUME_VOLATILITY, _VOLUME_OCTAVES)
        caps = worth if coin.ranked else np.zeros(len(times))
        return Quotes(prices, caps, worth * coin.turnover * growth(trade))

    def listed_at_ms(self, coin: SimulatedCoin) -> int:
        """Return when a coin was listed, in milliseconds since 1970; 0: always listed."""
        if coin.listed_days is None:
            return 0
        return int(self.started_at - coin.listed_days * _DAY_S) * 1000

    def last_update(self, coin: SimulatedCoin, now: float) -> int:
        """Return the time of the coin's newest price: UNIX seconds, 20 to 80 s before `now`."""
        phase = key(self.seed, "update", coin.id) % _UPDATE_EVERY_S
        rounds = int(now - _UPDATE_LAG_S - phase) // _UPDATE_EVERY_S
        return rounds * _UPDATE_EVERY_S + phase

    def change_24h(self, coin: SimulatedCoin, currency: str, at: int) -> float | None:
        """Return the change over 24 hours in percent; None for a coin listed later than that."""
        before_ms = (at - _DAY_S) * 1000
        if before_ms < self.listed_at_ms(coin):
            return None
        times = np.array([before_ms, at * 1000], dtype=np.int64)
        before, after = self.prices(coin, currency, times).tolist()
        return float((after / before - 1) * 100)

    def _rate(self, coin: SimulatedCoin, currency: str, times: Ints) -> Floats:
        if currency == "usd":
            return np.ones(len(times))
        common = CURRENCIES[currency] * growth(
            wander((self.seed, "rate", currency), times, _RATE_VOLATILITY)
        )
        own = key(self.seed, "stray", coin.id, currency)
        return common * (1.0 + _STRAY * ripple(own, times, _STRAY_PERIOD_MS))
