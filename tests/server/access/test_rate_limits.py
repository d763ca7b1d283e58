"""The points of a window, over real connections, at the limit and one past it."""

from collections.abc import AsyncIterator

import pytest
from websockets.exceptions import InvalidStatus

from simulator import Simulator
from tests.server.access.limited_server import COST, ONE, POINTS, Clock, ask, left, limited_server
from tests.server.cache_probes import wait_for_listener
from tests.server.streams.sse_client import events_of
from tests.server.streams.websocket_client import SECONDS, connected_to, talking_to
from tests.serving import TOKEN, LiveServer

READ_TOKEN = "test-read-token"  # noqa: S105 - of the tests' own servers


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def limited(
    database_url: str, shared_simulator: Simulator, clock: Clock
) -> AsyncIterator[LiveServer]:
    async with limited_server(database_url, shared_simulator, clock) as server:
        yield server


async def spend_all(server: LiveServer, **headers: str) -> None:
    for _ in range(POINTS // COST):
        assert (await ask(server, **headers)).status_code == 200


@pytest.mark.slow
async def test_the_limit_one_past_it_and_the_next_window(limited: LiveServer, clock: Clock) -> None:
    for number in range(1, POINTS // COST + 1):
        response = await ask(limited)
        assert response.status_code == 200
        assert left(response) == (POINTS - number * COST, 60)
        assert response.headers["ratelimit-policy"] == f'"points";q={POINTS};w=60'
    clock.now += 59.5
    refused = await ask(limited)
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "1"
    assert left(refused) == (0, 1)
    (error,) = refused.json()["errors"]
    assert error["extensions"] == {"code": "RATE_LIMITED", "retryAfterSeconds": 1}
    assert "No points are left of 5,000 a minute (RATE_LIMIT_POINTS)" in error["message"]
    assert "data" not in refused.json()
    clock.now += 0.5
    assert left(await ask(limited)) == (POINTS - COST, 60)


async def test_a_cached_response_costs_one_point(limited: LiveServer) -> None:
    await wait_for_listener(limited)
    first = await limited.post("{ currencies { code } }")
    before, _ = left(first)
    assert before == POINTS - (1_000 + 2 * 100)
    for number in range(1, 4):
        hit = await limited.post("{ currencies { code } }")
        assert hit.headers["x-cache"] == "HIT"
        assert left(hit)[0] == before - number


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b'{"query": "{"}', 400),
        (b'{"query": "{ nothing }"}', 400),
        (
            b'{"query": "{ prices(coin: \\"a\\", from: \\"2000-01-01\\") { next } }"}',
            400,
        ),  # expensive
        (b"#" * 200_000, 413),
    ],
)
async def test_a_rejected_request_costs_one_point(
    limited: LiveServer, body: bytes, status: int
) -> None:
    headers = {"Content-Type": "application/json"}
    response = await limited.http.post("/graphql", content=body, headers=headers)
    assert (response.status_code, left(response)[0]) == (status, POINTS - 1)


async def test_an_operation_past_the_limit_spends_nothing(limited: LiveServer) -> None:
    for _ in range(POINTS // COST - 2):
        await ask(limited)
    refused = await ask(limited, "{ a: __typename b: __typename c: __typename }")
    assert refused.status_code == 429
    assert left(refused)[0] == 2 * COST - 1
    (error,) = refused.json()["errors"]
    assert "costs 299 points, and 199 are left" in error["message"]
    assert left(await ask(limited))[0] == COST - 1


@pytest.mark.slow
async def test_pages_and_health_checks_are_free(limited: LiveServer) -> None:
    await spend_all(limited)
    page = await limited.http.get("/graphql", headers={"Accept": "text/html"})
    assert page.status_code == 200
    assert "ratelimit" not in page.headers
    assert (await limited.http.get("/health/ready")).status_code == 200


@pytest.mark.slow
async def test_a_static_file_costs_one_point(limited: LiveServer) -> None:
    before, _ = left(await ask(limited))
    for number, path in enumerate(("favicon.svg", "favicon.svg?v=1", "graphiql.js"), 1):
        answer = await limited.http.get(f"/graphiql/{path}")
        assert answer.status_code == 200
        assert left(answer)[0] == before - number
        known = {"If-None-Match": answer.headers["etag"]}
    assert left(await limited.http.get("/graphiql/graphiql.js", headers=known))[0] == before - 4
    assert (await limited.http.get("/graphiql/nothing")).status_code == 404
    assert left(await ask(limited))[0] == before - 5 - COST
    while (await ask(limited)).status_code == 200:
        pass
    while (refused := await limited.http.get("/graphiql/favicon.svg")).status_code == 200:
        pass
    assert refused.status_code == 429
    assert refused.json()["errors"][0]["extensions"]["code"] == "RATE_LIMITED"
    assert refused.headers["retry-after"]


@pytest.mark.slow
async def test_a_valid_token_has_an_account_of_its_own(
    database_url: str, shared_simulator: Simulator, clock: Clock
) -> None:
    async with limited_server(
        database_url, shared_simulator, clock, read_tokens=READ_TOKEN
    ) as server:
        reading = {"Authorization": f"Bearer {READ_TOKEN}"}
        await spend_all(server, **reading)
        assert (await ask(server, **reading)).status_code == 429
        other = await ask(server, Authorization=f"bearer {TOKEN}")
        assert (other.status_code, left(other)[0]) == (200, POINTS - COST)
        for number in range(1, 4):  # guessed tokens are charged to the address
            wrong = await ask(server, Authorization=f"Bearer {number}")
            assert (wrong.status_code, left(wrong)[0]) == (401, POINTS - number)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trusted", "sent", "account"),
    [
        ("", "203.0.113.9", "127.0.0.1"),  # no proxy is trusted
        ("10.0.0.0/8", "203.0.113.9", "127.0.0.1"),  # not this one
        ("127.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("127.0.0.1", "198.51.100.1, 203.0.113.9", "203.0.113.9"),  # what the client claimed
        ("127.0.0.0/8,10.0.0.0/8", "198.51.100.1, 203.0.113.9, 10.1.2.3", "203.0.113.9"),
        ("127.0.0.1", "2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("127.0.0.1", "::ffff:203.0.113.9", "203.0.113.9"),
        (
            "127.0.0.1,::ffff:10.0.0.0/104",
            "198.51.100.1, 203.0.113.9, ::ffff:10.1.2.3, 10.1.2.4",
            "203.0.113.9",
        ),
    ],
)
async def test_the_charged_address(
    database_url: str,
    shared_simulator: Simulator,
    clock: Clock,
    trusted: str,
    sent: str,
    account: str,
) -> None:
    async with limited_server(
        database_url, shared_simulator, clock, trusted_proxies=trusted
    ) as server:
        first = await ask(server, X_Forwarded_For=sent)
        assert left(first)[0] == POINTS - COST
        rates = server.application.admission.rates
        assert rates is not None
        spent, _ = await rates.spend(f"address:{account}", 0)
        assert spent == COST


async def test_operations_of_a_websocket_are_charged(limited: LiveServer) -> None:
    async with talking_to(limited) as talk:  # which costs a point itself
        for number in range(POINTS // COST - 1):
            await talk.begin(ONE, str(number), extensions={"cost": True})
            assert (await talk.receive())["type"] == "next"
            assert (await talk.receive())["type"] == "complete"
        assert left(await ask(limited, "{"))[0] == COST - 1 - 1
        await talk.begin(ONE, "past", extensions={"cost": True})
        message = await talk.receive()
        assert (message["type"], message["id"]) == ("error", "past")
        assert message["payload"][0]["extensions"]["code"] == "RATE_LIMITED"
        follow = "subscription { priceUpdates { revision } }"
        await talk.begin(follow, "follow")
        message = await talk.receive()
        assert message["payload"][0]["extensions"]["code"] == "RATE_LIMITED"


async def test_operations_of_event_streams_are_charged(limited: LiveServer) -> None:
    async with events_of(limited, "subscription { priceUpdates { revision } }") as events:
        assert (await events.next())[0] == "next"
        assert left(events.response)[0] == POINTS - 1  # as far as was known by then
    assert left(await ask(limited))[0] == POINTS - (1_000 + 100) - COST


@pytest.mark.slow
async def test_every_transport_rejects_callers_without_points(limited: LiveServer) -> None:
    await spend_all(limited)
    async with events_of(limited, ONE) as events:
        assert events.response.status_code == 429
    with pytest.raises(InvalidStatus) as refused:
        async with connected_to(limited, open_timeout=SECONDS):
            pass
    assert refused.value.response.status_code == 429
    assert 1 <= int(refused.value.response.headers["Retry-After"]) <= 60


async def test_without_the_setting_nothing_is_counted(server: LiveServer) -> None:
    assert server.application.admission.rates is None
    assert "ratelimit" not in (await ask(server)).headers
