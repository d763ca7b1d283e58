"""What one operation loads in batches: each loader answers many keys with one statement or two."""

from datetime import datetime
from uuid import UUID

from strawberry.dataloader import DataLoader

from models import coins as coin_rows
from models import runs as run_rows
from models import series as series_rows
from models.database import Database
from models.series import SeriesKey, SeriesWithLatest
from models.tables import CoinMetadata, RefreshRunItem, Series
from resolvers.errors import NotFoundError
from resolvers.footprint import Footprint
from resolvers.names import explain_missing
from resolvers.prices import PriceAnswer, PriceRequest, price_series

PriceKey = tuple[SeriesKey, PriceRequest]


class Loaders:
    """Made anew for each operation, so that nothing is seen older than the operation itself."""

    def __init__(self, database: Database, now: datetime, footprint: Footprint) -> None:
        self.now = now
        self._database = database
        self._footprint = footprint
        self.metadata: DataLoader[str, CoinMetadata | None] = DataLoader(self._metadata)
        self.latest: DataLoader[SeriesKey, SeriesWithLatest] = DataLoader(self._latest)
        self.prices: DataLoader[PriceKey, PriceAnswer] = DataLoader(self._prices)
        self.run_items: DataLoader[UUID, list[tuple[RefreshRunItem, Series]]] = DataLoader(
            self._run_items
        )

    async def _metadata(self, coin_ids: list[str]) -> list[CoinMetadata | None]:
        self._footprint.catalogue()
        async with self._database.read() as session:
            found = await coin_rows.metadata_by_coin(session, coin_ids)
        return [found.get(coin_id) for coin_id in coin_ids]

    async def _latest(self, keys: list[SeriesKey]) -> list[SeriesWithLatest | NotFoundError]:
        async with self._database.read() as session:
            found = await series_rows.latest_by_key(session, keys)
        self._footprint.series(row.series.id for row in found.values())
        missing = [key for key in keys if key not in found]
        errors = await explain_missing(self._database, missing) if missing else {}
        return [found[key] if key in found else errors[key] for key in keys]

    async def _prices(self, keys: list[PriceKey]) -> list[PriceAnswer | Exception]:
        by_request: dict[PriceRequest, list[SeriesKey]] = {}
        for series_key, request in keys:
            by_request.setdefault(request, []).append(series_key)
        found: dict[PriceKey, PriceAnswer | Exception] = {}
        for request, series_keys in by_request.items():
            answers = await price_series(self._database, self._footprint, request, series_keys)
            found.update(zip(((key, request) for key in series_keys), answers, strict=True))
        return [found[key] for key in keys]

    async def _run_items(self, run_ids: list[UUID]) -> list[list[tuple[RefreshRunItem, Series]]]:
        self._footprint.changes_untold()
        async with self._database.read() as session:
            found = await run_rows.items_of_runs(session, run_ids)
        return [found[run_id] for run_id in run_ids]
