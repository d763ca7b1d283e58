"""Lists of coins and latest prices: the columnar path equals the ordinary one."""

from datetime import UTC, datetime
from random import Random
from typing import Any

import asyncpg
import orjson
import pytest
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from models.postgres.database import Database
from schema import build_schema
from schema.context import Access, Caller, Context, Services
from schema.execution.columnar import ColumnarExecutor
from schema.types.latest import LatestList

NOW = datetime(2026, 3, 1, 12, 30, 0, 500, tzinfo=UTC)
CALLER = Caller("test", Access.GRANTED, Access.GRANTED)
LATEST = [
    "coin", "currency", "price", "marketCap", "volume", "change24h", "observedAt", "ageSeconds",
    "revision", "__typename",
]  # fmt: skip
COIN = ["id", "symbol", "name", "createdAt", "updatedAt", "__typename"]
SCHEMA = build_schema()
BELOW = ["metadata { imageUrl }", "prices(first: 2) { points { price } }"]


@pytest.fixture
async def filled(database: Database, sql: asyncpg.Connection) -> Database:
    """Three coins in two currencies, with nulls, one of six series without a price."""
    await sql.execute("INSERT INTO currency VALUES ('eur', 'Euro', '€'), ('usd', 'Dollar', '$')")
    await sql.execute(
        "INSERT INTO coin (id, symbol, name, created_at) VALUES ('a', 's', 'A', $1),"
        " ('b', 's', 'B', $1), ('c', 't', 'C', $1)",
        NOW,
    )
    await sql.execute(
        "INSERT INTO series (coin_id, currency_code, revision)"
        " SELECT id, code, 7 FROM coin CROSS JOIN currency ORDER BY id, code"
    )
    await sql.execute(
        "INSERT INTO price_latest (series_id, observed_at, price, market_cap, change_24h)"
        " SELECT id, $1, 0.1 * id, nullif(id, 2), nullif(id, 3) FROM series"
        " WHERE (coin_id, currency_code) <> ('b', 'usd')",
        datetime(2026, 3, 1, 12, tzinfo=UTC),
    )
    return database


async def both(
    database: Database, query: str, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[Any], list[Any]]:
    """Execute on the columnar path and on graphql-core's own."""
    services: Any = Services(database, None, None, None, None)  # type: ignore[arg-type] # reads need no more

    async def answer() -> list[Any]:
        context = Context(services, CALLER, now=NOW)
        result = await SCHEMA.execute(query, context_value=context)
        # fields are answered at the same time, so their errors are in no order
        errors = sorted((e.formatted for e in result.errors or ()), key=lambda e: str(e["path"]))
        answered: list[Any] = orjson.loads(orjson.dumps([result.data, errors]))
        return answered

    columnar = await answer()
    with monkeypatch.context() as patched:
        own = StrawberryGraphQLCoreExecutionContext.complete_list_value
        patched.setattr(ColumnarExecutor, "complete_list_value", own)
        return columnar, await answer()


def selection(draw: Random, fields: list[str]) -> str:
    names = draw.choices(fields, k=draw.randint(1, 5))
    marked = [f"{draw.choice(['', f'x{number}: '])}{name}" for number, name in enumerate(names)]
    directives = ("", "", " @include(if: true)", " @skip(if: true)")
    return " ".join(name + draw.choice(directives) for name in marked)


def latest(draw: Random) -> str:
    currency = draw.choice(["usd", "eur", "EUR", "usd", "eur", "nope"])
    name = draw.choice(["", f"{currency.lower()}Price: "])
    return f'{name}latest(currency: "{currency}") {{ {selection(draw, LATEST)} }}'


@pytest.mark.slow
async def test_any_selection(filled: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = Random(5)  # noqa: S311 - a test
    failed = answered = 0
    for _ in range(150):
        fields = [selection(draw, COIN), draw.choice([latest(draw), "", draw.choice(BELOW)])]
        also = f"latestPrices {{ {selection(draw, LATEST)} }}"
        query = f"{{ coins(first: {draw.randint(1, 4)}) {{ nodes {{ {' '.join(fields)} }} }} "
        query += draw.choice(["", also]) + " }"
        columnar, ordinary = await both(filled, query, monkeypatch)
        assert columnar == ordinary, query
        failed += bool(columnar[1])
        answered += not columnar[1]
    assert failed > 5
    assert answered > 100


async def test_a_price_of_infinity_is_an_error_of_its_own(
    filled: Database, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sql.execute("UPDATE price_latest SET volume = 'infinity' WHERE series_id = 1")
    query = "{ coins { nodes { id latest(currency: %s) { volume } } } latestPrices { volume } }"
    for currency in ('"usd"', '"eur"'):
        columnar, ordinary = await both(filled, query % currency, monkeypatch)
        assert columnar == ordinary
        assert columnar[1]


async def test_the_fast_path_is_taken(filled: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def walked(*_: object) -> None:
        raise AssertionError("the list was walked")

    monkeypatch.setattr(LatestList, "__getitem__", walked)
    context = Context(Services(filled, None, None, None, None), CALLER, now=NOW)  # type: ignore[arg-type] # as above
    result = await SCHEMA.execute(
        "{ coins { nodes { id latest { price } } } latestPrices { price } }", context_value=context
    )
    assert result.errors is None
    assert result.data is not None
    assert [node["latest"] for node in result.data["coins"]["nodes"]][1] is None
    assert len(result.data["latestPrices"]) == 5
