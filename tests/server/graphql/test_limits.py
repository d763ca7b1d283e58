"""Each limit at its value and one past it, over real sockets."""

import json
from dataclasses import fields, replace
from typing import Any

import pytest

from schema import build_schema
from schema.limits import Limits
from server.config.limits import FIXED_LIMITS
from server.transport.head_limits import LARGEST_HEAD
from simulator import Simulator
from tests.schema.limits.test_limits import DOCUMENTS, values_of
from tests.server.raw_client import HEAD, QUERY, raw
from tests.server.streams.websocket_client import talking_to
from tests.serving import LiveServer, Reader, make_settings

MOST = {"max_document": 2_000, "max_tokens": 60, "max_root_fields": 5}  # else 6
VALUES = ("max_variables", "max_list", "max_input_depth", "max_input_values")
ELSEWHERE = {  # these have tests of their own
    "max_cost",  # tests/schema/cost/test_cost_extension.py
    "introspection",  # test_introspection_off.py
}
OVERLAPPING = {12: "{" + "__typename " * 4 + "}", 13: "{" + "__typename " * 5 + "}"}


def cases() -> list[tuple[str, int, str, dict[str, Any], str, dict[str, Any]]]:
    """Yield a setting, its value, a request at the limit and one past it."""
    found: list[tuple[str, int, str, dict[str, Any], str, dict[str, Any]]] = []
    for name, make in DOCUMENTS.items():
        most = MOST.get(name, 6)
        found.append((name, most, make(most), {}, make(most + 1), {}))
    for name in VALUES:
        values = (values_of(name, count) for count in (6, 7))
        found.append((name, 6, "{__typename}", next(values), "{__typename}", next(values)))
    # graphql-core counts two for each pair: 4 fields of one name have 6 pairs
    return [*found, ("max_overlaps", 12, OVERLAPPING[12], {}, OVERLAPPING[13], {})]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "most", "fitting", "values", "past", "more"),
    cases(),
    ids=[f"{case[0]}{' of values' * bool(case[3])}" for case in cases()],
)
async def test_an_operation_at_the_limit_and_one_past_it(
    scheduled_server: LiveServer,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    most: int,
    fitting: str,
    values: dict[str, Any],
    past: str,
    more: dict[str, Any],
) -> None:
    """One server for all: the test replaces its schema."""
    bound: dict[str, Any] = {name: most}
    endpoint = scheduled_server.application.endpoint
    monkeypatch.setattr(endpoint.handler, "_schema", build_schema(replace(Limits(), **bound)))
    url = f"{scheduled_server.url}/graphql"
    fits = await post(url, fitting, values)
    assert "OPERATION_TOO_COMPLEX" not in json.dumps(fits), "at the limit"
    refused = await post(url, past, more)
    assert "data" not in refused
    for error in refused["errors"]:
        assert error["extensions"] == {"code": "OPERATION_TOO_COMPLEX", "limit": name.upper()}


async def post(url: str, query: str, variables: dict[str, Any]) -> Any:
    """Send a query with a client of this event loop; the server runs in another."""
    async with raw(url) as client:
        content = json.dumps({"query": query, "variables": variables}).encode()
        client.send(HEAD + b"Content-Length: %d\r\n\r\n" % len(content) + content)
        return json.loads((await client.answer()).body)


def test_every_limit_is_tested() -> None:
    tested = {case[0] for case in cases()} | ELSEWHERE
    assert tested == {each.name for each in fields(Limits)} - {"operation_seconds"}


def hostile(name: str) -> tuple[str, dict[str, Any]]:
    """Return a request that exceeds one of the fixed limits."""
    past = getattr(Limits(), name) + 1
    if name == "max_overlaps":
        return "{" + "__typename " * 99 + "}", {}
    if name in VALUES:
        return "{__typename}", values_of(name, past)
    return DOCUMENTS[name](past), {}


@pytest.mark.slow
@pytest.mark.parametrize("wide", [False, True], ids=["default", "wide"])
@pytest.mark.parametrize("name", sorted(name.lower() for name in FIXED_LIMITS))
async def test_fixed_limits_refuse_hostile_operations(
    scheduled_server: LiveServer,
    shared_simulator: Simulator,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    wide: bool,
) -> None:
    """By default, and where every limit that is a setting is as high as it may be."""
    most: dict[str, Any] = dict.fromkeys(("max_tokens", "max_depth", "max_cost"), 10**9 * wide)
    settings = make_settings("postgresql://unused/x", shared_simulator, **(most if wide else {}))
    endpoint = scheduled_server.application.endpoint
    monkeypatch.setattr(endpoint.handler, "_schema", build_schema(settings.limits))
    refused = await post(f"{scheduled_server.url}/graphql", *hostile(name))
    assert "data" not in refused
    codes = {error["extensions"]["code"] for error in refused["errors"]}
    if name == "max_document":  # the body is too large, too
        assert codes == {"BAD_USER_INPUT"}
        return
    assert codes == {"OPERATION_TOO_COMPLEX"}
    if wide:
        assert name.upper() in {error["extensions"]["limit"] for error in refused["errors"]}


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body(reader: Reader, chunked: bool) -> None:
    for size, status in ((100_000, 200), (100_001, 413)):
        body = QUERY.ljust(size)
        async with raw(reader.url) as client:
            if chunked:
                framing = b"Transfer-Encoding: chunked\r\n\r\n"
                client.send(HEAD + framing + b"%x\r\n%b\r\n0\r\n\r\n" % (size, body))
            else:
                client.send(HEAD + b"Content-Length: %d\r\n\r\n" % size + body)
            assert (await client.answer()).status == status


@pytest.mark.parametrize("part", ["address", "headers"])
async def test_a_head(reader: Reader, part: str) -> None:
    for size, status in ((LARGEST_HEAD, 200), (LARGEST_HEAD + 1, 431)):
        head = b"GET /health/live%b HTTP/1.1\r\nHost: test\r\nX-Long: %b\r\n\r\n"
        missing = size - len(head % (b"", b""))
        long = (b"?" + b"x" * (missing - 1), b"") if part == "address" else (b"", b"x" * missing)
        async with raw(reader.url) as client:
            client.send(head % long)
            assert (await client.answer()).status == status


@pytest.mark.parametrize(
    ("body", "words"),
    [
        # the object around it is a level, too
        (b'{"query": "{__typename}", "x": %b}' % (b"[" * 1_023 + b"]" * 1_023), None),
        (b'{"query": "{__typename}", "x": %b}' % (b"[" * 1_024 + b"]" * 1_024), "is not JSON"),
        (b'{"query": "{__typename}", "variables": {"x": %b}}' % (b"[" * 253 + b"]" * 253),
         "MAX_INPUT_DEPTH"),
        (b'{"query": "{__typename}", "variables": {"x": %b}}' % (b"[" * 254 + b"]" * 254),
         "nested too deeply"),
        (b'{"query": "{coins(first: %b){totalCount}}"}' % (b"1" * 4_300), "32-bit"),
        (b'{"query": "{coins(first: %b){totalCount}}"}' % (b"1" * 4_301), "too many digits"),
        (b'{"query": "{coins(first: 500){totalCount}}"}', None),
        (b'{"query": "{coins(first: 501){totalCount}}"}', "between 1 and 500"),
        (b'{"query": "{refreshRuns(first: 500){totalCount}}"}', None),
        (b'{"query": "{refreshRuns(first: 501){totalCount}}"}', "between 1 and 500"),
        (b'{"query": "{latestPrices(coins: [%b]){price}}"}' % (b'\\"bitcoin\\" ' * 500), None),
        (b'{"query": "{latestPrices(coins: [%b]){price}}"}' % (b'\\"bitcoin\\" ' * 501), "500"),
    ],
)  # fmt: skip
async def test_nesting_numbers_and_lists(reader: Reader, body: bytes, words: str | None) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await reader.http.post("/graphql", content=body, headers=headers)
    if words is None:
        assert "errors" not in answer.json(), answer.text[:500]
    else:
        assert words in answer.json()["errors"][0]["message"]


@pytest.mark.parametrize(("size", "kept"), [(128, True), (129, False)])
async def test_a_request_id(reader: Reader, size: int, kept: bool) -> None:
    given = "x" * size
    answer = await reader.http.get("/health/live", headers={"X-Request-ID": given})
    assert (answer.headers["x-request-id"] == given) is kept


async def test_an_id_of_an_operation(reader: Reader) -> None:
    async with talking_to(reader) as talk:
        await talk.begin("{ __typename }", "x" * 256)
        assert (await talk.receive())["id"] == "x" * 256
        await talk.begin("{ __typename }", "x" * 257)
        while (await talk.receive())["type"] != "complete":
            pass
        assert (await talk.closed())[0] == 4400
