"""FastAPI and asyncpg by hand, with Pydantic models as its documentation recommends."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated

import asyncpg
from fastapi import Depends, FastAPI, Query, Request
from pydantic import BaseModel

from benchmarks.peers import statements
from benchmarks.peers.where import POOL_SIZE, asyncpg_url


class PricePoint(BaseModel):
    timestamp: datetime
    price: float


class PriceSeries(BaseModel):
    points: list[PricePoint]


class Currency(BaseModel):
    code: str


class Latest(BaseModel):
    price: float
    market_cap: float | None
    volume: float | None
    change_24h: float | None
    observed_at: datetime


class Coin(BaseModel):
    id: str
    symbol: str
    name: str
    latest: Latest | None


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with asyncpg.create_pool(asyncpg_url(), min_size=POOL_SIZE, max_size=POOL_SIZE) as pool:
        app.state.pool = pool
        yield


app = FastAPI(lifespan=lifespan)


def pool_of(request: Request) -> asyncpg.Pool:
    pool: asyncpg.Pool = request.app.state.pool
    return pool


Pool = Annotated[asyncpg.Pool, Depends(pool_of)]


@app.get("/prices")
async def prices(
    pool: Pool,
    coin: str,
    currency: str,
    since: Annotated[datetime, Query(alias="from")],
    until: Annotated[datetime, Query(alias="to")],
) -> PriceSeries:
    rows = await pool.fetch(statements.PRICES, coin, currency, since, until)
    return PriceSeries(
        points=[PricePoint(timestamp=row["bucket"], price=row["price"]) for row in rows]
    )


@app.get("/currencies")
async def currencies(pool: Pool) -> list[Currency]:
    return [Currency(code=row["code"]) for row in await pool.fetch(statements.CURRENCIES)]


@app.get("/coins")
async def coins(pool: Pool, currency: str, first: int) -> list[Coin]:
    rows = await pool.fetch(statements.COINS, currency, first)
    return [
        Coin(
            id=row["id"],
            symbol=row["symbol"],
            name=row["name"],
            latest=None if row["observed_at"] is None else Latest(**dict(row)),
        )
        for row in rows
    ]
