"""Pages of other origins, over real sockets: preflights, headers of all responses, WebSockets."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from simulator import Simulator
from tests.conftest import new_database
from tests.server.http.sites import Site, ask
from tests.server.http.sites import site as serving
from tests.server.raw_client import raw
from tests.server.streams.websocket_client import connected_to
from tests.serving import TOKEN, live_server, make_settings

QUERY = {"query": "{ currencies { code } }"}
FRIENDS = "https://app.example.com,https://*.preview.example.com,capacitor://localhost,null"
FRIEND, PREVIEW, EVIL = (
    "https://app.example.com",
    "https://pr-7.preview.example.com",
    "https://evil.example.com",
)
HEADERS = [
    "content-type",
    "apollographql-client-name,apollographql-client-version,content-type",
    "baggage,content-type,sentry-trace",
    "traceparent,tracestate",
    "cache-control,pragma,x-requested-with",
    "x-datadog-origin,x-datadog-parent-id,x-datadog-sampling-priority,x-datadog-trace-id",
    "b3,x-b3-traceid,x-b3-spanid,x-b3-sampled,newrelic,uber-trace-id",
    "if-none-match,last-event-id,x-request-id,authorization",
    "x-unheard-of",
    "Accept, Content-Type, GraphQL-Require-Preflight",
]


@pytest.fixture(scope="module")
def served(
    postgres_url: str, template: str, shared_simulator: Simulator
) -> Iterator[dict[str, Site]]:
    """Servers by their CORS_ORIGINS."""
    with new_database(postgres_url, template) as url:

        def settings(origins: str) -> Any:
            return make_settings(url, shared_simulator, cors_origins=origins)

        with (
            serving(settings(FRIENDS)) as friends,
            serving(settings("*")) as everybody,
            serving(settings("")) as nobody,
        ):
            yield {FRIENDS: friends, "*": everybody, "": nobody}


def preflight(server: Site, origin: str, **more: str) -> httpx.Response:
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    asked |= {f"Access-Control-Request-{name.replace('_', '-')}": more[name] for name in more}
    return ask(server, "OPTIONS", headers=asked)


@pytest.mark.parametrize("origin", [FRIEND, PREVIEW, "capacitor://localhost", "null"])
@pytest.mark.parametrize("headers", HEADERS)
def test_an_allowed_page_may_send_any_header(
    served: dict[str, Site], origin: str, headers: str
) -> None:
    answer = preflight(served[FRIENDS], origin, Headers=headers)
    assert answer.status_code == 200, answer.text
    shown = answer.headers
    assert shown["access-control-allow-origin"] == origin
    assert shown["access-control-allow-headers"] == headers
    assert "POST" in shown["access-control-allow-methods"]
    assert int(shown["access-control-max-age"]) >= 7200
    assert "access-control-allow-credentials" not in shown
    varies = {name.strip().lower() for name in shown["vary"].split(",")}
    assert {"origin", "access-control-request-headers"} <= varies


def test_a_preflight_without_headers_and_one_to_a_private_network(
    served: dict[str, Site],
) -> None:
    assert preflight(served[FRIENDS], FRIEND).status_code == 200
    local = preflight(served[FRIENDS], FRIEND, Private_Network="true")
    assert local.headers["access-control-allow-private-network"] == "true"
    foreign = preflight(served[FRIENDS], EVIL, Private_Network="true")
    assert "access-control-allow-private-network" not in foreign.headers
    everybody = preflight(served["*"], EVIL, Headers="x-anything")
    assert everybody.headers["access-control-allow-origin"] == "*"
    assert everybody.headers["access-control-allow-headers"] == "x-anything"


@pytest.mark.parametrize(
    ("origins", "origin", "method", "words"),
    [
        (FRIENDS, EVIL, "POST", ["CORS_ORIGINS", EVIL]),
        (FRIENDS, "https://preview.example.com", "POST", ["CORS_ORIGINS", "preview.example.com"]),
        (FRIENDS, FRIEND, "PUT", ["GET", "POST", "PUT"]),
        ("*", EVIL, "DELETE", ["GET", "POST", "DELETE"]),
        ("", FRIEND, "POST", ["CORS_ORIGINS", "not set"]),
    ],
)
def test_a_rejected_preflight_has_the_reason(
    served: dict[str, Site], origins: str, origin: str, method: str, words: list[str]
) -> None:
    answer = preflight(served[origins], origin, Method=method, Headers="sentry-trace")
    assert answer.status_code in {400, 405}
    message = answer.json()["errors"][0]["message"]
    assert [word for word in words if word not in message] == []
    right_origin = origins == "*" or origin == FRIEND
    assert ("CORS_ORIGINS" in message) == (not right_origin or not origins)
    if not right_origin:
        named = [name for name in answer.headers if name.startswith("access-control")]
        assert named == []


RESPONSES: list[tuple[str, str, int, dict[str, Any]]] = [
    ("GET", "/graphql", 200, {"params": QUERY}),
    ("GET", "/graphql", 304, {"params": QUERY, "headers": {"If-None-Match": "*"}}),
    ("GET", "/graphql", 400, {}),
    ("GET", "/graphql", 405, {"params": {"query": "mutation { refreshPrices { started } }"}}),
    ("GET", "/graphql", 406, {"params": QUERY, "headers": {"Accept": "image/png"}}),
    ("POST", "/graphql", 415, {"content": "x"}),
    ("POST", "/graphql", 413, {"json": {"query": " " * 200_000}}),
    (
        *("POST", "/graphql", 401),
        {
            "json": {"query": "mutation { refreshPrices { started } }"},
            "headers": {"Authorization": "Bearer x"},
        },
    ),
    ("GET", "/nothing", 404, {}),
    ("DELETE", "/graphql", 405, {}),
    ("POST", "/health/live", 405, {}),
    ("GET", "/health/ready", 200, {}),
    ("GET", "/graphiql/graphiql.js", 200, {}),
]


@pytest.mark.parametrize(("method", "path", "status", "more"), RESPONSES)
def test_every_response_has_the_cors_headers(
    served: dict[str, Site], method: str, path: str, status: int, more: dict[str, Any]
) -> None:
    given = dict(more)
    headers = given.pop("headers", {})
    for origin, expected in ((FRIEND, FRIEND), (EVIL, None), (None, None)):
        sent = headers | ({"Origin": origin} if origin else {})
        answer = ask(served[FRIENDS], method, path, headers=sent, **given)
        guarded = path == "/graphql" and method == "GET" and status != 406
        assert answer.status_code == (403 if origin == EVIL and guarded else status)
        assert answer.headers.get("access-control-allow-origin") == expected
        varies = [name.strip() for name in answer.headers["vary"].split(",")]
        assert varies.count("Origin") == 1, "a cache would give one origin the other's answer"
        if expected:
            exposed = set(answer.headers["access-control-expose-headers"].split(", "))
            assert {"ETag", "Retry-After", "RateLimit", "X-Request-ID"} <= exposed
    # what a cache has of a request without Origin may be given to a page
    anybody = ask(served["*"], method, path, headers=headers, **given)
    assert (anybody.status_code, anybody.headers["access-control-allow-origin"]) == (status, "*")


async def test_errors_have_the_cors_headers(
    served: dict[str, Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    for origins, origin, expected in (
        (FRIENDS, FRIEND, FRIEND),
        (FRIENDS, EVIL, None),
        ("*", EVIL, "*"),
        ("", EVIL, None),
    ):
        server = served[origins]
        async with raw(server.url) as client:
            head = f"POST /graphql HTTP/1.1\r\nOrigin: {origin}\r\n"
            client.send(f"{head}Transfer-Encoding: gzip\r\n\r\n".encode())
            answer = await client.answer()
            assert answer.status == 400
            assert answer.headers.get("access-control-allow-origin") == expected

        async def fail(*_: object) -> None:
            raise RuntimeError

        monkeypatch.setattr(server.application.endpoint, "_page", fail)
        headers = {"Accept": "text/html", "Origin": origin}
        failed = ask(server, "GET", headers=headers)
        assert failed.status_code == 500
        assert failed.headers.get("access-control-allow-origin") == expected


async def test_a_page_can_read_the_rate_limit_error(
    database_url: str, shared_simulator: Simulator
) -> None:
    settings = make_settings(
        *(database_url, shared_simulator),
        cors_origins=FRIEND,
        rate_limit_points=1_000,
        max_cost=1_000,
    )
    headers = {"Origin": FRIEND}
    async with live_server(settings) as server:
        answers = [
            await server.http.get("/graphql", params={"query": "{ coins { totalCount } }"},
                                  headers=headers | {"Authorization": f"Bearer {TOKEN}"})
            for _ in range(3)
        ]  # fmt: skip
        refused = next(each for each in answers if each.status_code >= 400)
        assert refused.headers["access-control-allow-origin"] == FRIEND
        assert "RateLimit" in refused.headers["access-control-expose-headers"]


@pytest.mark.parametrize(
    ("origins", "origin", "admitted"),
    [
        (FRIENDS, FRIEND, True),
        (FRIENDS, f"{FRIEND}:443", True),
        (FRIENDS, PREVIEW, True),
        (FRIENDS, "capacitor://localhost", True),
        (FRIENDS, "null", True),
        (FRIENDS, EVIL, False),
        (FRIENDS, "https://preview.example.com", False),
        ("", "null", False),
        ("", EVIL, False),
        ("*", EVIL, True),
    ],
)
async def test_one_rule_for_websockets(
    served: dict[str, Site], origins: str, origin: str, admitted: bool
) -> None:
    site: Any = served[origins]  # it has a URL, which is all that counts
    connecting = connected_to(site, additional_headers={"Origin": origin})
    if admitted:
        async with connecting as talk:
            assert talk.connection.subprotocol == "graphql-transport-ws"
        return
    with pytest.raises(InvalidStatus) as refused:
        async with connecting:
            pass
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://prices.example", "Host": "prices.example:443"}, 200),
        ({"Origin": "https://PRICES.example", "Host": "prices.example"}, 200),
        ({"Origin": "http://prices.example:80", "Host": "prices.example"}, 200),
        ({"Origin": "https://prices.example", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "https://prices.example:8443", "Host": "prices.example"}, 403),
        ({"Origin": "https://prices.example", "Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "null", "Host": ""}, 403),
    ],
)
def test_own_pages(served: dict[str, Site], headers: dict[str, str], status: int) -> None:
    answer = ask(served[""], "GET", params=QUERY, headers=headers)
    assert answer.status_code == status
