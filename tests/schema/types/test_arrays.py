"""Arrays equal the points, and each field is read even if selected alone."""

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from graphql import GraphQLList, GraphQLNonNull, GraphQLObjectType
from graphql import build_schema as schema_from_sdl

from models.postgres.database import Database
from schema import build_schema
from schema.columnar.encoding import encoded_rows, rows
from schema.columnar.lists import ColumnarLeaves
from schema.context import Access, Caller, Context, Services
from tests.schema.sample_series import GRANULARITIES
from tests.schema.series_query import SERIES, series
from tests.serving import Reader

ARRAY_OF = {"timestamps": "timestamp", "prices": "price", "marketCaps": "marketCap",
            "volumes": "volume"}  # fmt: skip
CALLER = Caller("test", Access.GRANTED, Access.GRANTED)


@pytest.mark.slow
@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("order", ["ASC", "DESC"])
@pytest.mark.parametrize("fill", ["NONE", "NULL", "PREVIOUS"])
async def test_the_same_numbers_as_points(
    made: Reader, granularity: str, order: str, fill: str
) -> None:
    for coin, first in (("gappy", None), ("gappy", 7), ("tiny", 600), ("none", None)):
        answer = await series(
            made, coin=coin, granularity=granularity, order=order, fill=fill, first=first,
        )  # fmt: skip
        for name, column in answer["columns"].items():
            field = ARRAY_OF.get(name, name)
            assert column == [point[field] for point in answer["points"]], name
    if granularity == "HOUR":
        assert set(answer["columns"]["open"]) <= {None}


@pytest.fixture
async def services(made_url: tuple[str, str]) -> AsyncIterator[Any]:
    """The services that a context needs for reads."""
    database = Database(made_url[1])
    yield Services(database, None, None, None, None)  # type: ignore[arg-type] # reads need no more
    await database.close()


async def test_lists_are_the_same_as_written_json(made: Reader, services: Any) -> None:
    """Transports that take no encoded JSON receive the values."""
    variables: dict[str, str]
    for variables in (
        {"to": "2021-03-10", "fill": "NULL"},
        {"to": "2021-03-10", "granularity": "WEEK", "order": "DESC"},
    ):
        result = await build_schema().execute(
            SERIES, variable_values=variables, context_value=Context(services, CALLER)
        )
        assert result.data is not None
        assert result.data["prices"] == await series(made, **variables)


async def test_arrays_take_the_columnar_path(
    services: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def walked(*_: object) -> None:
        raise AssertionError("the array was walked")

    monkeypatch.setattr(ColumnarLeaves, "__getitem__", walked)
    monkeypatch.setattr(ColumnarLeaves, "__iter__", walked, raising=False)
    query = """{ prices(coin: "gappy", to: "2021-04-01") { columns { timestamps prices filled } }
      alignedPrices(coins: ["gappy"], to: "2021-04-01") { timestamps series { prices } } }"""
    for encoded in (False, True):
        context = Context(services, CALLER, encoded=encoded)
        result = await build_schema().execute(query, context_value=context)
        assert result.errors is None


@pytest.mark.slow
@pytest.mark.parametrize("granularity", GRANULARITIES)
async def test_each_field_alone(made: Reader, granularity: str) -> None:
    """A column that was not read would be null: compare with the whole."""
    fixed = {"granularity": granularity, "from": "2020-12-01", "to": "2021-03-01"}
    whole = await series(made, **fixed)
    schema = schema_from_sdl(build_schema().as_str())
    arguments = f'coin: "gappy", granularity: {granularity}, from: "2020-12-01", to: "2021-03-01"'
    paths = list(_leaves(schema.type_map["PriceSeries"]))
    paths = [path for path in paths if path[0] in whole]
    assert len(paths) > 25
    for path in paths:
        selection = " { ".join(path) + " }" * (len(path) - 1)
        alone = (await made.data(f"{{ prices({arguments}) {{ {selection} }} }}"))["prices"]
        assert _only(alone, path) == _only(whole, path), path


def _leaves(kind: Any) -> Any:
    """Return the paths to all leaves that need no argument."""
    for name, field in kind.fields.items():
        below = field.type
        while isinstance(below, GraphQLNonNull | GraphQLList):
            below = below.of_type
        if any(argument.default_value is None for argument in field.args.values()):
            continue
        if isinstance(below, GraphQLObjectType):
            yield from ((name, *path) for path in _leaves(below))
        else:
            yield (name,)


def _only(answer: Any, path: tuple[str, ...]) -> Any:
    """Follow a path, through lists."""
    if not path:
        return answer
    if isinstance(answer, list):
        return [_only(each, path) for each in answer]
    return _only(answer[path[0]], path[1:])


def test_all_fields_are_selected() -> None:
    """A new field of points or arrays must be added to the query of these tests."""
    schema = schema_from_sdl(build_schema().as_str())
    for name in ("PricePoint", "PriceColumns", "Coverage", "Gap"):
        kind = schema.type_map[name]
        assert isinstance(kind, GraphQLObjectType)
        assert set(kind.fields) <= set(SERIES.replace("{", " ").replace("}", " ").split()), name


def test_a_column_with_several_aliases_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each text that orjson encodes separately takes a kilobyte."""
    names = [f"a{number}" for number in range(50)]
    columns: dict[str, Any] = dict.fromkeys(names, ["PricePoint"] * 1_000)
    columns["coin"] = ["bitcoin", None] * 500
    written: list[object] = []
    dumps = orjson.dumps

    def counting(value: Any, option: int | None = None) -> bytes:
        written.append(value)
        return dumps(value, option=option)

    with monkeypatch.context() as patch:
        patch.setattr(orjson, "dumps", counting)
        fragment = encoded_rows(columns, 1_000)
    assert orjson.loads(orjson.dumps(fragment)) == rows(columns, 1_000)
    assert len(written) < 1_000
