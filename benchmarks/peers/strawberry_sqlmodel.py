"""Stock Strawberry on SQLModel: one object per point, as both libraries' documentation shows."""

from datetime import datetime
from typing import Annotated

import strawberry
from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession
from strawberry.asgi import GraphQL
from strawberry.dataloader import DataLoader

from benchmarks.peers.where import POOL_SIZE, database_url
from models import tables

engine = create_async_engine(database_url(), pool_size=POOL_SIZE, max_overflow=0)


@strawberry.type
class PricePoint:
    timestamp: datetime
    price: float


@strawberry.type
class PriceSeries:
    points: list[PricePoint]


@strawberry.type
class Currency:
    code: str


@strawberry.type
class LatestPrice:
    price: float
    market_cap: float | None
    volume: float | None
    change24h: float | None
    observed_at: datetime


@strawberry.type
class Coin:
    id: strawberry.ID
    symbol: str
    name: str

    @strawberry.field
    async def latest(self, info: strawberry.Info, currency: strawberry.ID) -> LatestPrice | None:
        loader: DataLoader[tuple[str, str], LatestPrice | None] = info.context["latest"]
        return await loader.load((self.id, currency))


@strawberry.type
class CoinConnection:
    nodes: list[Coin]


@strawberry.type
class Query:
    @strawberry.field
    async def prices(
        self,
        coin: strawberry.ID,
        currency: strawberry.ID,
        since: Annotated[datetime, strawberry.argument(name="from")],
        until: Annotated[datetime, strawberry.argument(name="to")],
    ) -> PriceSeries:
        query = (
            select(tables.PriceHourly)
            .join(tables.Series, col(tables.Series.id) == col(tables.PriceHourly.series_id))
            .where(tables.Series.coin_id == coin, tables.Series.currency_code == currency)
            .where(tables.PriceHourly.bucket >= since, tables.PriceHourly.bucket < until)
            .order_by(col(tables.PriceHourly.bucket))
        )
        async with AsyncSession(engine) as session:
            rows = await session.exec(query)
            return PriceSeries(
                points=[PricePoint(timestamp=row.bucket, price=row.price) for row in rows]
            )

    @strawberry.field
    async def currencies(self) -> list[Currency]:
        async with AsyncSession(engine) as session:
            rows = await session.exec(select(tables.Currency).order_by(col(tables.Currency.code)))
            return [Currency(code=row.code) for row in rows]

    @strawberry.field
    async def coins(self, first: int) -> CoinConnection:
        query = select(tables.Coin).order_by(col(tables.Coin.id)).limit(first)
        async with AsyncSession(engine) as session:
            rows = await session.exec(query)
            return CoinConnection(
                nodes=[Coin(id=strawberry.ID(r.id), symbol=r.symbol, name=r.name) for r in rows]
            )


async def load_latest(keys: list[tuple[str, str]]) -> list[LatestPrice | None]:
    query = (
        select(tables.Series, tables.PriceLatest)
        .join(tables.PriceLatest, col(tables.PriceLatest.series_id) == col(tables.Series.id))
        .where(
            col(tables.Series.coin_id).in_({coin for coin, _ in keys}),
            col(tables.Series.currency_code).in_({currency for _, currency in keys}),
        )
    )
    async with AsyncSession(engine) as session:
        found = {
            (series.coin_id, series.currency_code): LatestPrice(
                price=latest.price,
                market_cap=latest.market_cap,
                volume=latest.volume,
                change24h=latest.change_24h,
                observed_at=latest.observed_at,
            )
            for series, latest in await session.exec(query)
        }
    return [found.get(key) for key in keys]


class Application(GraphQL[dict[str, object], None]):
    async def get_context(self, request: object, response: object) -> dict[str, object]:  # noqa: ARG002 - Strawberry's hook
        return {"latest": DataLoader(load_fn=load_latest)}


app = Application(strawberry.Schema(query=Query))
