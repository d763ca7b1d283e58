"""The schema is committed, described, compatible, and fits the examples."""

from pathlib import Path

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    get_introspection_query,
    parse,
    print_schema,
    validate,
)
from graphql import build_schema as schema_from_sdl

from schema import build_schema
from tests.serving import Reader

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "web" / "examples").glob("*.graphql"))
AGREED = """
    scalar DateTime
    scalar BigInt
    type Query {
      coin(id: ID!): Coin
      coins(filter: CoinFilter, first: Int = 50, after: String): CoinConnection!
      currencies: [Currency!]!
      prices(coin: ID!, currency: ID = "usd", from: DateTime, to: DateTime,
             granularity: Granularity = HOUR, order: SortDirection = ASC, first: Int,
             fill: FillPolicy = NONE): PriceSeries!
      latestPrices(coins: [ID!], currencies: [ID!]): [LatestPrice!]!
      alignedPrices(coins: [ID!]!, currencies: [ID!] = ["usd"], from: DateTime, to: DateTime,
                    granularity: Granularity = HOUR, fill: FillPolicy = NULL): AlignedPrices!
      refreshRun(id: ID!): RefreshRun
      refreshRuns(first: Int = 20, after: String): RefreshRunConnection!
      seriesStatus(coins: [ID!], currencies: [ID!]): [SeriesStatus!]!
      anomalies(coins: [ID!], currencies: [ID!], from: DateTime, to: DateTime,
                threshold: Float = 4, window: Int = 24): [Anomaly!]!
    }
    type Mutation { refreshPrices(input: RefreshPricesInput): RefreshPricesPayload! }
    type Subscription {
      priceUpdates(coins: [ID!], currencies: [ID!], since: BigInt): PriceUpdate!
    }
    type PriceUpdate { kind: PriceUpdateKind! revision: BigInt! prices: [LatestPrice!]! }
    enum PriceUpdateKind { SNAPSHOT CHANGE GAP }
    enum Granularity { HOUR DAY WEEK MONTH }
    enum FillPolicy { NONE NULL PREVIOUS }
    enum SortDirection { ASC DESC }
    enum RefreshStatus { RUNNING SUCCEEDED PARTIAL FAILED INTERRUPTED }
    input CoinFilter { ids: [ID!] symbols: [String!] search: String }
    type Coin {
      id: ID! symbol: String! name: String! metadata: CoinMetadata
      latest(currency: ID = "usd"): LatestPrice
      prices(currency: ID = "usd", from: DateTime, to: DateTime, granularity: Granularity = HOUR,
             order: SortDirection = ASC, first: Int, fill: FillPolicy = NONE): PriceSeries!
      createdAt: DateTime! updatedAt: DateTime!
    }
    type CoinMetadata { description: String imageUrl: String websiteUrl: String }
    type Currency { code: ID! name: String! symbol: String! }
    type CoinConnection {
      nodes: [Coin!]! edges: [CoinEdge!]! pageInfo: PageInfo! totalCount: Int!
    }
    type CoinEdge { cursor: String! node: Coin! }
    type PageInfo {
      hasNextPage: Boolean! hasPreviousPage: Boolean! startCursor: String endCursor: String
    }
    type PriceSeries {
      coin: ID! currency: ID! granularity: Granularity! from: DateTime! to: DateTime!
      statistics: PriceStatistics! movingAverage(window: Int!, kind: AverageKind = SMA): [Float]!
      downsampled(maxPoints: Int!): [PricePoint!]!
      revision: BigInt! next: DateTime points: [PricePoint!]! columns: PriceColumns!
      coverage: Coverage!
    }
    enum AverageKind { SMA EMA }
    type PriceStatistics {
      count: Int! first: TimedPrice last: TimedPrice minimum: TimedPrice maximum: TimedPrice
      mean: Float standardDeviation: Float change: Float changePercent: Float volatility: Float
      maximumDrawdown: Drawdown
    }
    type TimedPrice { timestamp: DateTime! price: Float! }
    type Drawdown { percent: Float! peak: TimedPrice trough: TimedPrice }
    type Anomaly {
      timestamp: DateTime! coin: ID! currency: ID! price: Float! changePercent: Float!
      logReturn: Float! expectedLogReturn: Float! score: Float! direction: AnomalyDirection!
      scope: AnomalyScope! coinsAlike: Int! coinsCompared: Int!
    }
    enum AnomalyDirection { UP DOWN }
    enum AnomalyScope { UPSTREAM MARKET CURRENCY COIN }
    type PricePoint {
      timestamp: DateTime! price: Float marketCap: Float volume: Float observedAt: DateTime
      open: Float high: Float low: Float close: Float samples: Int! partial: Boolean!
      filled: Boolean!
    }
    type PriceColumns {
      timestamps: [DateTime!]! prices: [Float]! marketCaps: [Float]! volumes: [Float]!
      open: [Float]! high: [Float]! low: [Float]! close: [Float]!
      samples: [Int!]! partial: [Boolean!]! filled: [Boolean!]!
    }
    type Coverage {
      expected: Int! present: Int! firstAvailable: DateTime lastAvailable: DateTime gaps: [Gap!]!
    }
    type Gap {
      from: DateTime! to: DateTime! buckets: Int! upstream: Boolean!
      askedSince: DateTime askedTimes: Int! nextAsk: DateTime
    }
    type AlignedPrices {
      granularity: Granularity! from: DateTime! to: DateTime! timestamps: [DateTime!]!
      series: [AlignedSeries!]!
    }
    type AlignedSeries { coin: ID! currency: ID! revision: BigInt! prices: [Float]! }
    type LatestPrice {
      coin: ID! currency: ID! price: Float! marketCap: Float volume: Float change24h: Float
      observedAt: DateTime! ageSeconds: Float! revision: BigInt!
    }
    type SeriesStatus {
      coin: ID! currency: ID! stale: Boolean! reason: String hoursMissing: Int! daysMissing: Int!
    }
    type RefreshRunConnection {
      nodes: [RefreshRun!]! edges: [RefreshRunEdge!]! pageInfo: PageInfo! totalCount: Int!
    }
    type RefreshRunEdge { cursor: String! node: RefreshRun! }
    input RefreshPricesInput {
      coins: [ID!] currencies: [ID!] days: Int rebuild: Boolean = false
      onlyDue: Boolean = false wait: Boolean = false
      idempotencyKey: String
    }
    type RefreshPricesPayload { run: RefreshRun! started: Boolean! }
    type RefreshRun {
      id: ID! status: RefreshStatus! trigger: RefreshTrigger! startedAt: DateTime!
      finishedAt: DateTime plannedCalls: Int! completedCalls: Int! failedCalls: Int!
      rowsInserted: Int! rowsCorrected: Int! duplicatesDropped: Int! estimatedSecondsLeft: Float
      items(status: RefreshItemStatus): [RefreshRunItem!]! error: String
    }
    enum RefreshTrigger { MUTATION COMMAND STARTUP SCHEDULE }
    enum RefreshItemStatus { PENDING SUCCEEDED PARTIAL FAILED INTERRUPTED }
    type RefreshRunItem { coin: ID! currency: ID! status: RefreshItemStatus! error: String }
"""


@pytest.fixture(scope="module")
def ours() -> GraphQLSchema:
    return schema_from_sdl(build_schema().as_str())


def test_the_committed_schema_is_the_schema() -> None:
    committed = (ROOT / "schema" / "schema.graphql").read_text()
    assert committed == build_schema().as_str() + "\n", (
        "run: coingraph schema --output schema/schema.graphql"
    )


async def test_the_served_schema_is_the_committed_one(reader: Reader, ours: GraphQLSchema) -> None:
    served = (await reader.data(get_introspection_query(descriptions=False)))["__schema"]
    names = {kind["name"] for kind in served["types"] if not kind["name"].startswith("__")}
    assert names == {name for name in ours.type_map if not name.startswith("__")}
    assert served["mutationType"]["name"] == "Mutation"


def undescribed(kind: GraphQLNamedType) -> list[str]:
    places = {kind.name: kind.description}
    if isinstance(kind, GraphQLObjectType | GraphQLInputObjectType):
        for name, field in kind.fields.items():
            places[f"{kind.name}.{name}"] = field.description
            for argument, definition in getattr(field, "args", {}).items():
                places[f"{kind.name}.{name}({argument})"] = definition.description
    if isinstance(kind, GraphQLEnumType):
        for name, value in kind.values.items():
            places[f"{kind.name}.{name}"] = value.description
    return [place for place, text in places.items() if not (text and text.strip())]


def test_everything_has_a_description(ours: GraphQLSchema) -> None:
    built_in = {"String", "Int", "Float", "Boolean", "ID"}
    kinds = [k for n, k in ours.type_map.items() if not n.startswith("__") and n not in built_in]
    assert len(kinds) > 20
    assert [place for kind in kinds for place in undescribed(kind)] == []


def test_a_missing_description_would_be_found() -> None:
    bare = schema_from_sdl('type Query { "a" a("b" b: Int, c: E): Int d: Int } enum E { "f" F G }')
    assert undescribed(bare.type_map["Query"]) == ["Query", "Query.a(c)", "Query.d"]
    assert undescribed(bare.type_map["E"]) == ["E", "E.G"]


def test_names_types_and_defaults_are_as_agreed(ours: GraphQLSchema) -> None:
    """Additions are allowed, changes are not: clients depend on the schema."""
    agreed = schema_from_sdl(AGREED)
    for name, kind in agreed.type_map.items():
        if name.startswith("__"):
            continue
        assert name in ours.type_map, name
        assert type(ours.type_map[name]) is type(kind), name
        if isinstance(kind, GraphQLEnumType):
            present = ours.type_map[name]
            assert isinstance(present, GraphQLEnumType)
            assert set(kind.values) <= set(present.values), name
        if isinstance(kind, GraphQLObjectType | GraphQLInputObjectType):
            assert_fields(ours.type_map[name], kind)


def assert_fields(
    present: GraphQLNamedType, agreed: GraphQLObjectType | GraphQLInputObjectType
) -> None:
    """Compare the SDL of each field."""

    def lines(kind: object) -> dict[str, str]:
        assert isinstance(kind, GraphQLObjectType | GraphQLInputObjectType)
        found = {}
        for name, field in kind.fields.items():
            one = type(kind)(kind.name, {name: field})
            sdl = print_schema(GraphQLSchema(types=[one]))
            text = sdl[sdl.index(f"{kind.name} {{") :]
            found[name] = " ".join(
                line for line in text.split("\n}")[0].split() if not line.startswith('"')
            )
        return found

    bare = schema_from_sdl(print_schema(GraphQLSchema(types=[present])))
    without = lines(strip_descriptions(bare.type_map[present.name]))
    for name, expected in lines(agreed).items():
        assert without.get(name) == expected, f"{agreed.name}.{name}"


def strip_descriptions(kind: GraphQLNamedType) -> GraphQLNamedType:
    assert isinstance(kind, GraphQLObjectType | GraphQLInputObjectType)
    for field in kind.fields.values():
        field.description = None
        for argument in getattr(field, "args", {}).values():
            argument.description = None
    return kind


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_fit_the_schema(path: Path, ours: GraphQLSchema) -> None:
    assert [error.message for error in validate(ours, parse(path.read_text()))] == []


def test_there_are_examples() -> None:
    assert len(EXAMPLES) > 5


@pytest.mark.parametrize("query", [t for t in map(Path.read_text, EXAMPLES) if "query" in t])
async def test_example_queries_answer(query: str, reader: Reader) -> None:
    query = query.replace('"jpy"', '"eur"')  # the server under test keeps no more
    answer = await reader.data(query)
    answer.pop("anomalies", None)  # there may be none in these few days
    assert all(answer.values())
