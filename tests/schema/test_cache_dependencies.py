"""The recorded dependencies of each field: a missing one would leave stale responses cached."""

from typing import Any

import pytest
from graphql import GraphQLObjectType, get_named_type

from resolvers.cache_dependencies import CATALOGUE
from schema import build_schema
from schema.context import Context
from tests.serving import LiveServer

SERIES = "series"
PAST = 'from: "2026-01-01", to: "2026-01-05"'

# Each field with a resolver of its own, a query that reaches it, and what that one depends on.
READS: dict[str, tuple[str, set[str]]] = {
    "Query.coin": ('{ coin(id: "bitcoin") { name } }', {CATALOGUE}),
    "Query.coins": ("{ coins { nodes { id } } }", {CATALOGUE}),
    "Query.currencies": ("{ currencies { code } }", {CATALOGUE}),
    "Query.prices": (f'{{ prices(coin: "bitcoin", {PAST}) {{ revision }} }}', {SERIES}),
    "Query.latestPrices": ("{ latestPrices { price } }", {CATALOGUE, SERIES}),
    "Query.refreshRun": ('{ refreshRun(id: "$run") { status } }', {"uncacheable"}),
    "Query.refreshRuns": ("{ refreshRuns { nodes { status } } }", {"uncacheable"}),
    "Query.refreshPlan": ("{ refreshPlan { calls } }", {"uncacheable"}),
    "Query.seriesStatus": ("{ seriesStatus { stale } }", {"uncacheable"}),
    "Coin.metadata": ("{ coins { nodes { metadata { imageUrl } } } }", {CATALOGUE}),
    "Coin.tracked": ("{ coins { nodes { tracked } } }", {CATALOGUE}),
    "Currency.tracked": ("{ currencies { tracked } }", {CATALOGUE}),
    "Coin.latest": ("{ coins { nodes { latest { price } } } }", {CATALOGUE, SERIES}),
    "Coin.prices": (f"{{ coins {{ nodes {{ prices({PAST}) {{ to }} }} }} }}", {CATALOGUE, SERIES}),
    "CoinConnection.totalCount": ("{ coins { totalCount } }", {CATALOGUE}),
    "LatestPrice.ageSeconds": (
        '{ latestPrices(coins: ["bitcoin"]) { ageSeconds } }',
        {CATALOGUE, SERIES, "relative"},
    ),
    "PriceSeries.points": (
        '{ prices(coin: "bitcoin") { points { partial } } }', {SERIES, "relative", "until"}
    ),
    "PriceSeries.downsampled": (
        f'{{ prices(coin: "bitcoin", {PAST}) {{ downsampled(maxPoints: 9) {{ price }} }} }}',
        {SERIES},
    ),
    "PriceSeries.statistics": (
        f'{{ prices(coin: "bitcoin", {PAST}) {{ statistics {{ mean }} }} }}', {SERIES}
    ),
    "PriceSeries.movingAverage": (
        f'{{ prices(coin: "bitcoin", {PAST}) {{ movingAverage(window: 3) }} }}', {SERIES}
    ),
    "PriceSeries.columns": (
        f'{{ prices(coin: "bitcoin", {PAST}) {{ columns {{ prices }} }} }}', {SERIES}
    ),
    "PriceSeries.coverage": (
        f'{{ prices(coin: "bitcoin", {PAST}) {{ coverage {{ present }} }} }}',
        {SERIES, "until"},
    ),
    **{
        f"PriceColumns.{field}": (
            f'{{ prices(coin: "bitcoin", {PAST}) {{ columns {{ {field} }} }} }}', {SERIES}
        )
        for field in (
            "timestamps", "prices", "marketCaps", "volumes", "open", "high", "low", "close",
            "samples", "partial", "filled",
        )
    },
    "Query.alignedPrices": (
        f'{{ alignedPrices(coins: ["bitcoin"], {PAST}) {{ timestamps }} }}', {SERIES}
    ),
    "Query.anomalies": (f"{{ anomalies({PAST}) {{ score }} }}", {CATALOGUE, SERIES}),
    "CoinConnection.edges": ("{ coins { edges { cursor } } }", {CATALOGUE}),
    "CoinConnection.pageInfo": ("{ coins { pageInfo { endCursor } } }", {CATALOGUE}),
    "RefreshRunConnection.edges": ("{ refreshRuns { edges { cursor } } }", {"uncacheable"}),
    "RefreshRunConnection.pageInfo": (
        "{ refreshRuns { pageInfo { endCursor } } }",
        {"uncacheable"},
    ),
    "RefreshRun.items": ("{ refreshRuns { nodes { items { coin } } } }", {"uncacheable"}),
    "RefreshRunConnection.totalCount": ("{ refreshRuns { totalCount } }", {"uncacheable"}),
}  # fmt: skip


def test_every_field_with_a_resolver_is_listed() -> None:
    schema = build_schema()
    found = set()
    for name, kind in schema._schema.type_map.items():  # noqa: SLF001 - the schema as graphql-core has it
        if not isinstance(kind, GraphQLObjectType) or name.startswith("__"):
            continue
        if name in ("Mutation", "Subscription"):  # whose responses are not cached
            continue
        definition = schema.get_type_by_name(name)
        assert definition is not None
        for field, known in zip(kind.fields, definition.fields, strict=True):  # type: ignore[union-attr] # of objects
            assert get_named_type(kind.fields[field].type)
            if known.base_resolver is not None:
                found.add(f"{name}.{field}")
    assert found == set(READS)


@pytest.mark.slow
@pytest.mark.parametrize("field", READS)
async def test_dependencies_of_each_field(
    server: LiveServer, field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    query, expected = READS[field]
    made: list[Any] = []

    class Noting(Context):
        def __post_init__(self) -> None:
            super().__post_init__()
            made.append(self)

    monkeypatch.setattr("server.graphql.admission.Context", Noting)
    runs = await server.data("{ refreshRuns { nodes { id } } }")
    await server.data(query.replace("$run", runs["refreshRuns"]["nodes"][0]["id"]))
    dependencies = made[-1].dependencies
    tags = {tag if tag == CATALOGUE else SERIES for tag in dependencies.tags}
    others = {name for name in ("relative", "uncacheable", "until") if getattr(dependencies, name)}
    assert tags | others == expected
