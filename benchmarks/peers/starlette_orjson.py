"""Starlette, asyncpg and orjson by hand: no models, rows to dicts to JSON."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

import asyncpg
import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from benchmarks.peers import statements
from benchmarks.peers.where import POOL_SIZE, asyncpg_url

_LATEST = ("price", "market_cap", "volume", "change_24h", "observed_at")


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    async with asyncpg.create_pool(asyncpg_url(), min_size=POOL_SIZE, max_size=POOL_SIZE) as pool:
        app.state.pool = pool
        yield


def _json(content: object) -> Response:
    return Response(orjson.dumps(content, option=orjson.OPT_UTC_Z), media_type="application/json")


async def prices(request: Request) -> Response:
    asked = request.query_params
    rows = await request.app.state.pool.fetch(
        statements.PRICES,
        asked["coin"],
        asked["currency"],
        datetime.fromisoformat(asked["from"]),
        datetime.fromisoformat(asked["to"]),
    )
    return _json({"points": [{"timestamp": row[0], "price": row[1]} for row in rows]})


async def currencies(request: Request) -> Response:
    rows = await request.app.state.pool.fetch(statements.CURRENCIES)
    return _json([{"code": row[0]} for row in rows])


async def coins(request: Request) -> Response:
    asked = request.query_params
    rows = await request.app.state.pool.fetch(
        statements.COINS, asked["currency"], int(asked["first"])
    )
    return _json(
        [
            {
                "id": row["id"],
                "symbol": row["symbol"],
                "name": row["name"],
                "latest": {name: row[name] for name in _LATEST} if row["observed_at"] else None,
            }
            for row in rows
        ]
    )


app = Starlette(
    routes=[Route("/prices", prices), Route("/currencies", currencies), Route("/coins", coins)],
    lifespan=lifespan,
)
