"""Coins that upstream does not know, and which ones may have been meant."""

import asyncio
import difflib
from collections.abc import Sequence

from ingestion.coingecko import CoinGecko
from ingestion.errors import NotFound, UpstreamError
from ingestion.samples import CallStats, ListedCoin


class UnknownCoins:
    """The unknown coins of one run. Explaining them costs one call, however many there are."""

    def __init__(self, upstream: CoinGecko, stats: CallStats) -> None:
        self._upstream = upstream
        self._stats = stats
        self._reasons: dict[str, str] = {}
        self._asking = asyncio.Lock()
        self._listed: list[ListedCoin] | None = None

    def reason(self, coin_id: str) -> str | None:
        """Why a coin is not worth a call any more, None where it is."""
        return self._reasons.get(coin_id)

    async def explain(self, coin_id: str, error: UpstreamError) -> str:
        """Say why a call for a coin failed, and which coin may have been meant."""
        if not isinstance(error, NotFound):
            return str(error)
        async with self._asking:
            if self._listed is None:
                try:
                    self._listed = await self._upstream.coin_list(stats=self._stats)
                except UpstreamError:
                    self._listed = []
        if any(coin.id == coin_id for coin in self._listed):
            return str(error)  # not for being unknown: another currency may fare better
        hint = await asyncio.to_thread(_hint, coin_id, self._listed)  # up to a second of CPU
        reason = f"CoinGecko knows no coin {coin_id!r}: correct COINS.{hint}"
        return self._reasons.setdefault(coin_id, reason)


def _hint(coin_id: str, listed: Sequence[ListedCoin]) -> str:
    close = difflib.get_close_matches(coin_id, [coin.id for coin in listed], n=3)
    close += [coin.id for coin in listed if coin.symbol.lower() == coin_id][:3]
    return f" Did you mean {' or '.join(dict.fromkeys(close))}?" if close else ""
