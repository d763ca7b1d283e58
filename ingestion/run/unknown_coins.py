"""Explains unknown coin ids and suggests similar ones."""

import asyncio
import difflib
import re
from collections.abc import Callable, Sequence

from ingestion.coingecko.client import CoinGecko
from ingestion.coingecko.errors import NotFound, UpstreamError
from ingestion.coingecko.types import CallStats, ListedCoin

_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}", re.IGNORECASE)


class UnknownCoins:
    """The coins that upstream does not know, in one run. Explaining them costs one call in all."""

    def __init__(self, upstream: CoinGecko, stats: CallStats) -> None:
        self._upstream = upstream
        self._stats = stats
        self._reasons: dict[str, str] = {}
        self._asking = asyncio.Lock()
        self._listed: list[ListedCoin] | None = None

    def reason(self, coin_id: str) -> str | None:
        """Return why a coin is known to be unknown; None if it is not."""
        return self._reasons.get(coin_id)

    async def explain(self, coin_id: str, error: UpstreamError) -> str:
        """Return why a call for a coin failed, with similar ids if the coin is unknown."""
        if not isinstance(error, NotFound):
            return str(error)
        async with self._asking:
            if self._listed is None:
                try:
                    self._listed = await self._upstream.coin_list(stats=self._stats)
                except UpstreamError:
                    self._listed = []
        if any(coin.id == coin_id for coin in self._listed):
            return str(error)  # the coin is known; another currency may succeed
        # up to a second of CPU
        hint = await asyncio.to_thread(_hint, coin_id, self._listed, self._may_be_named)
        reason = f"CoinGecko knows no coin {coin_id!r}: correct COINS.{hint}"
        return self._reasons.setdefault(coin_id, reason)

    def _may_be_named(self, coin_id: str) -> bool:
        """Return True if an id is safe to show: upstream could send any text in its place."""
        return bool(_ID.fullmatch(coin_id)) and self._upstream.is_free_of_secrets(coin_id)


def _hint(coin_id: str, listed: Sequence[ListedCoin], may_be_named: Callable[[str], bool]) -> str:
    close = difflib.get_close_matches(coin_id, [coin.id for coin in listed], n=3)
    close += [coin.id for coin in listed if coin.symbol.lower() == coin_id][:3]
    named = filter(may_be_named, dict.fromkeys(close))
    return f" Did you mean {' or '.join(close)}?" if (close := list(named)) else ""
