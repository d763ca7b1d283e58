"""Random writes of every kind that responses depend on."""

import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from models import coins as coin_rows
from models.prices.write_latest import NewestPrice, store_quotes
from models.tables import Coin, Currency
from tests.models.storing import LONG_AGO, NOON, run_of_hours, store
from tests.server.cache_probes import series_id
from tests.serving import LiveServer


class Writer:
    """Writes like refreshes and starting servers, at random."""

    def __init__(self, server: LiveServer, chance: random.Random) -> None:
        self._database = server.application.database
        self._chance = chance

    def writes(self) -> list[Callable[[], Awaitable[None]]]:
        return [
            self.quotes,
            self.hours,
            self.fewer_hours,
            self.history,
            self.profile,
            self.coin,
        ]

    async def _series(self) -> int:
        coin, currency = (
            self._chance.choice(["bitcoin", "ethereum"]),
            self._chance.choice(["usd", "eur"]),
        )
        return await series_id(self._database, coin, currency)

    async def quotes(self) -> None:
        series = {await self._series(), await self._series()}
        now = datetime.now(UTC)
        async with self._database.write() as session:
            await store_quotes(
                session,
                [
                    NewestPrice(id_, now, self._chance.random(), None, None)
                    for id_ in sorted(series)
                ],
            )

    async def hours(self) -> None:
        prices = [self._chance.randint(1, 3) for _ in range(self._chance.randint(1, 40))]
        await store(self._database, await self._series(), run_of_hours(NOON, prices))

    async def fewer_hours(self) -> None:
        samples = run_of_hours(NOON, [1.0])
        await store(self._database, await self._series(), samples, replace_from=NOON)

    async def history(self) -> None:
        """A fetch of older prices that returns none."""
        year = 1990 - self._chance.randint(0, 60)
        early = LONG_AGO.replace(year=year)
        await store(self._database, await self._series(), {}, asked_from=early)

    async def profile(self) -> None:
        name, text = f"Name {self._chance.randint(1, 3)}", f"Text {self._chance.randint(1, 3)}"
        metadata = {"description": text, "image_url": None, "website_url": None}
        async with self._database.write() as session:
            await coin_rows.save_profile(
                session, "bitcoin", symbol="btc", name=name, metadata=metadata
            )

    async def coin(self) -> None:
        coin = Coin(id="gulden", symbol="nlg", name="Gulden")
        currency = Currency(code="usd", name="Dollar", symbol="$")
        async with self._database.write() as session:
            await coin_rows.seed(session, [coin], [currency])
