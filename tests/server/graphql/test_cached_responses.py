"""Cached responses equal computed ones, whatever is written meanwhile."""

import asyncio
import random
from typing import Any

import asyncpg
import pytest

from models.series import latest_of
from simulator import Simulator
from tests.counting import statements
from tests.server.cache_probes import CURRENCIES, LATEST, quote, said, until, wait_for_listener
from tests.server.random_writes import Writer
from tests.serving import TOKEN, LiveServer, live_server, make_settings

REFRESH = "mutation { refreshPrices(input: {wait: true}) { run { status } } }"
SPRING = 'from: "2026-02-28", to: "2026-03-04"'
QUERIES = [
    LATEST,
    CURRENCIES,
    "{ latestPrices { coin currency price revision } }",
    "{ coins { totalCount nodes { id name updatedAt metadata { description } } } }",
    '{ coins { nodes { id latest { price } eur: latest(currency: "eur") { price revision } } } }',
    '{ coin(id: "bitcoin") { name latest { price observedAt } } }',
    f'{{ prices(coin: "bitcoin", {SPRING}) {{ revision points {{ timestamp price volume }} }} }}',
    f'{{ prices(coin: "bitcoin", {SPRING}, granularity: DAY) {{ points {{ open samples }} }} }}',
    '{ prices(coin: "bitcoin", to: "2026-03-04", first: 3) { from next points { price } } }',
    (
        f'{{ a: prices(coin: "bitcoin", {SPRING}) {{ revision }}'
        f' b: prices(coin: "ethereum", currency: "eur", {SPRING}) {{ points {{ price }} }} }}'
    ),
    f"{{ coins {{ nodes {{ prices({SPRING}, order: DESC) {{ points {{ price }} }} }} }} }}",
    '{ coin(id: "gulden") { name } }',
    '{ latestPrices(coins: ["gulden"]) { price } }',
    '{ prices(coin: "gulden", to: "2026-03-04") { revision points { price } } }',
]  # fmt: skip


@pytest.fixture
async def cached(server: LiveServer) -> LiveServer:
    return await wait_for_listener(server)


@pytest.mark.endurance
@pytest.mark.parametrize("seed", [1, 2])
async def test_every_write_invalidates(
    cached: LiveServer, database_url: str, shared_simulator: Simulator, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311 - no secret
    writer = Writer(cached, chance)
    hits = 0
    async with live_server(
        make_settings(database_url, shared_simulator, cache_megabytes=0)
    ) as plain:
        for _ in range(40):
            await chance.choice(writer.writes())()
            await cached.application.listener.catch_up()
            for query in chance.choices(QUERIES, k=4):
                kept, fresh = await cached.post(query), await plain.post(query)
                assert kept.json() == fresh.json(), query
                assert kept.status_code == fresh.status_code
                assert fresh.headers["x-cache"] == "BYPASS"
                hits += kept.headers["x-cache"] == "HIT"
    assert hits > 10, "it is the cache that is tested"


@pytest.mark.slow
async def test_every_write_invalidates_the_responses_that_show_it(cached: LiveServer) -> None:
    """Each write changes some response; otherwise the test above would prove nothing."""
    writer = Writer(cached, random.Random(1))  # noqa: S311 - no secret
    for write in writer.writes():
        for _ in range(30):  # a drawn value may be stored already
            before = [(await cached.post(query)).json() for query in QUERIES]
            await write()
            await cached.application.listener.catch_up()
            after = [await cached.post(query) for query in QUERIES]
            if before != [response.json() for response in after]:
                break
        else:
            pytest.fail(f"{write} changes nothing")
        hits = [response.headers["x-cache"] == "HIT" for response in after]
        assert any(hits), "what does not hang on it stays"


async def test_get_and_post_share_the_cache(cached: LiveServer) -> None:
    first, second = await cached.post(LATEST), await cached.post(LATEST)
    got = await cached.http.get("/graphql", params={"query": LATEST})
    assert [said(response) for response in (first, second, got)] == ["MISS", "HIT", "HIT"]
    assert first.content == second.content == got.content
    named = (
        "query A($n: Int!, $s: String) { coins(first: $n, filter: {search: $s}) { totalCount } }"
    )
    answers = [
        await cached.http.post("/graphql", content=f'{{"query": "{named}", "variables": {text}}}',
                               headers={"Content-Type": "application/json"})
        for text in ('{"n": 1, "s": "b"}', '{ "s": "b", "n": 1 }', '{"n": 2, "s": "b"}')
    ]  # fmt: skip
    assert [said(answer) for answer in answers] == ["MISS", "HIT", "MISS"]


@pytest.mark.slow
async def test_an_expired_response_is_recomputed(cached: LiveServer) -> None:
    """For the caller of a refresh and for a subscriber, without any delay."""
    for _ in range(3):
        before = await cached.data(LATEST)
        await quote(cached.application.database, 4.5)
        runs = await cached.data("{ refreshRuns(first: 1) { nodes { status } } }")
        assert runs["refreshRuns"]["nodes"] == [{"status": "SUCCEEDED"}]
        now = await cached.data(LATEST)
        assert now != before
        await quote(cached.application.database, 5.5)
        await cached.data(REFRESH, token=TOKEN)
        assert await cached.data(LATEST) != now


async def test_a_change_between_reading_and_storing(
    cached: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    application = cached.application

    async def read_slowly(*given: Any) -> Any:
        rows = await latest_of(*given)
        await quote(application.database, 7.5)
        await application.listener.catch_up()
        return rows

    monkeypatch.setattr("resolvers.series.latest_of", read_slowly)
    old = await cached.post(LATEST)
    monkeypatch.undo()
    new = await cached.post(LATEST)
    assert (said(old), said(new)) == ("MISS", "MISS")
    assert old.json() != new.json()
    assert new.json()["data"]["latestPrices"][0]["price"] == 7.5


async def test_concurrent_equal_queries_are_computed_once(
    cached: LiveServer, sql: asyncpg.Connection
) -> None:
    async with sql.transaction():
        await sql.execute("LOCK TABLE price_latest IN ACCESS EXCLUSIVE MODE")
        async with statements(cached.application.database, background=False) as sent:
            asked = [asyncio.create_task(cached.post(LATEST)) for _ in range(10)]
            await until(lambda: _one_waits(sql))
    # the lock is gone with its transaction
    async with statements(cached.application.database, background=False) as later:
        answers = await asyncio.gather(*asked)
    assert sorted(said(answer) for answer in answers) == ["HIT"] * 9 + ["MISS"]
    assert len({answer.content for answer in answers}) == 1
    assert len([query for query in sent if "price_latest" in query]) == 1
    assert not [query for query in later if "price_latest" in query]


async def _one_waits(sql: asyncpg.Connection) -> bool:
    waiting: bool = await sql.fetchval(
        "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation ="
        " 'price_latest'::regclass)"
    )
    return waiting


async def test_requests_with_a_token_bypass_the_cache(cached: LiveServer) -> None:
    for token in (TOKEN, "whatever"):
        for _ in range(2):
            answer = await cached.post(LATEST, token=token)
            assert said(answer) == "BYPASS"
            assert answer.headers["cache-control"] == "private, no-store"
            assert "etag" not in answer.headers
    assert said(await cached.post(LATEST)) == "MISS", "nothing was kept of theirs"
    assert said(await cached.post(LATEST)) == "HIT"
    for token in (TOKEN, "whatever", ""):
        headers = {"Authorization": token, "If-None-Match": "*"}
        answer = await cached.http.get("/graphql", params={"query": LATEST}, headers=headers)
        assert (answer.status_code, said(answer)) == (200, "BYPASS")


async def test_with_read_tokens_nothing_is_cached(
    cached: LiveServer, database_url: str, shared_simulator: Simulator
) -> None:
    settings = make_settings(database_url, shared_simulator, read_tokens="reader")
    async with live_server(settings) as closed:
        await wait_for_listener(closed)
        for token, status in (("reader", 200), ("reader", 200), (None, 401), ("wrong", 401)):
            answer = await closed.post(LATEST, token=token)
            assert answer.status_code == status
            assert answer.headers["x-cache"] == "BYPASS"
            assert answer.headers["cache-control"] == "private, no-store"
        assert len(closed.application.cache) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("query", "status"),
    [
        ('{ coin(id: "nothing") { id } }', 200),
        ('{ prices(coin: "nothing") { next } }', 404),
        ('{ currencies { code } coin(id: "nothing") { id } }', 200),
        ("{ nothing }", 400),
        ("{", 400),
        ("mutation { refreshPrices { started } }", 401),
        ("mutation { __typename }", 200),
    ],
)
async def test_failures_and_mutations_are_not_cached(
    cached: LiveServer, query: str, status: int
) -> None:
    for _ in range(2):
        answer = await cached.post(query)
        assert answer.status_code == status
        assert answer.headers["x-cache"] in {"MISS", "BYPASS"}
        assert answer.headers["cache-control"] == "no-store"
        assert "etag" not in answer.headers
    assert len(cached.application.cache) == 0


async def test_variables_nested_too_deeply(cached: LiveServer) -> None:
    deep: Any = 1
    for _ in range(200):  # far deeper ones: test_request_bounds.py
        deep = [deep]
    query = "query($x: [ID!]) { latestPrices(coins: $x) { price } }"
    status, code, _ = await cached.error(query, x=deep)
    assert (status, code) == (400, "OPERATION_TOO_COMPLEX")
