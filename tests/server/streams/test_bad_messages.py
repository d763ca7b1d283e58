"""Violations of the protocol close with its codes, without a traceback."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from server.graphql.request_parsing import RequestRules
from simulator import Simulator
from tests.server.streams.websocket_client import FOLLOW, connected_to, talking_to
from tests.serving import TOKEN, LiveServer, Reader, live_server, make_settings

SUBSCRIBE = {"type": "subscribe", "id": "1", "payload": {"query": FOLLOW}}


@pytest.fixture(autouse=True)
def _no_traceback(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> Iterator[None]:
    yield
    assert [record for record in caplog.records if record.levelname in {"ERROR", "CRITICAL"}] == []
    assert "Traceback" not in "".join(capfd.readouterr())


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in SUBSCRIBE.items() if key != name}


@pytest.mark.parametrize(
    "said",
    [
        "",
        "hello",
        '{"type":"ping"',
        '{"type":NaN}',
        "[" * 5000,
        "[]",
        "null",
        '"ping"',
        "{}",
        '{"type":null}',
        '{"type":["ping"]}',
        '{"type":"start"}',
        '{"type":"connection_ack"}',
        '{"type":"next","id":"1","payload":{}}',
        '{"type":"ping","payload":[]}',
        '{"type":"ping","payload":{"a":' + "[" * 1000 + "]" * 1000 + "}}",
        '{"type":"pong","payload":"x"}',
        '{"type":"complete"}',
        '{"type":"complete","id":7}',
        json.dumps(without("id")),
        json.dumps(without("payload")),
        json.dumps({**SUBSCRIBE, "id": ""}),
        json.dumps({**SUBSCRIBE, "id": "x" * 257}),
        json.dumps({**SUBSCRIBE, "payload": FOLLOW}),
        json.dumps({**SUBSCRIBE, "payload": {}}),
        json.dumps({**SUBSCRIBE, "payload": {"query": 7}}),
        json.dumps({**SUBSCRIBE, "payload": {"query": FOLLOW, "variables": []}}),
        json.dumps({**SUBSCRIBE, "payload": {"query": FOLLOW, "operationName": 7}}),
        b"\x00\x01",
        b'{"type":"ping"}',
    ],
)
async def test_a_malformed_message_closes_with_4400(reader: Reader, said: str | bytes) -> None:
    async with talking_to(reader) as talk:
        await talk.connection.send(said)
        code, reason = await talk.closed()
    assert code == 4400
    assert reason.endswith((".", "}"))


async def test_an_operation_before_the_init_closes_with_4401(reader: Reader) -> None:
    async with connected_to(reader) as talk:
        await talk.connection.send(json.dumps(SUBSCRIBE))
        assert await talk.closed() == (4401, "Unauthorized")
    async with connected_to(reader) as talk:
        await talk.say("connection_init", payload=[])
        assert (await talk.closed())[0] == 4400


async def test_a_ping_needs_no_init(reader: Reader) -> None:
    async with connected_to(reader) as talk:
        await talk.say("ping", payload={"a": [1]})
        assert await talk.receive() == {"type": "pong", "payload": {"a": [1]}}
        await talk.say("pong")
        await talk.say("complete", id="unknown")
        await talk.say("ping")
        assert await talk.receive() == {"type": "pong"}


async def test_a_second_init_closes_with_4429(reader: Reader) -> None:
    async with talking_to(reader) as talk:
        await talk.say("connection_init")
        assert await talk.closed() == (4429, "Too many initialisation requests")


async def test_an_id_in_use_closes_with_4409(reader: Reader) -> None:
    async with talking_to(reader) as talk:
        await talk.begin(operation_id="ä" * 100)
        await talk.begin(operation_id="ä" * 100)
        code, reason = await talk.closed()
    assert code == 4409
    assert reason.startswith("Subscriber for äää")  # cut between characters


async def test_more_operations_than_a_connection_may_have_close_with_4429(reader: Reader) -> None:
    async with talking_to(reader) as talk:
        for number in range(20):
            await talk.begin(operation_id=str(number))
            assert (await talk.receive())["id"] == str(number)
        await talk.say("complete", id="3")
        await talk.say("ping")
        assert await talk.receive() == {"type": "pong"}
        await talk.begin(operation_id="in its place")
        assert (await talk.receive())["id"] == "in its place"
        await talk.begin(operation_id="one more")
        assert await talk.closed() == (4429, "Too many operations: at most 20 at once")


async def test_a_message_in_fragments_without_end_closes_with_1009(reader: Reader) -> None:
    async with talking_to(reader) as talk:
        await talk.connection.send(['{"type":', *[""] * 900, '"ping"}'])
        assert await talk.receive() == {"type": "pong"}
        await talk.connection.send([""] * 1000)  # and one that ends them, the first too many
        assert (await talk.closed())[0] == 1009


async def test_a_frame_that_is_too_large_closes_with_1009(reader: Reader) -> None:
    async with talking_to(reader) as talk:
        message = json.dumps({"type": "ping", "payload": {"x": ""}})
        fitting = message.replace(
            '""', '"' + "x" * (RequestRules().largest_body - len(message)) + '"'
        )
        await talk.connection.send(fitting)
        assert (await talk.receive())["type"] == "pong"
        await talk.connection.send([fitting[:50_000], fitting[50_000:] + " "])
        assert (await talk.closed())[0] == 1009


@pytest.mark.parametrize("offered", [["graphql-ws"], ["graphql-ws", "x"], None])
async def test_other_subprotocols_are_rejected(reader: Reader, offered: Any) -> None:
    async with connected_to(reader, subprotocols=offered) as talk:
        assert await talk.closed() == (4406, "Use the subprotocol graphql-transport-ws")


async def test_ours_is_chosen_among_others(reader: Reader) -> None:
    async with connected_to(reader, subprotocols=["graphql-ws", "graphql-transport-ws"]) as talk:
        assert talk.connection.subprotocol == "graphql-transport-ws"


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "http://127.0.0.1", "http://127.0.0.1:1", "http://[::1", ""],
)
async def test_a_foreign_page_is_refused_at_the_handshake(reader: Reader, origin: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with connected_to(reader, additional_headers={"Origin": origin}):
            pass
    assert refused.value.response.status_code == 403
    body = json.loads(refused.value.response.body or b"")
    assert body["errors"][0]["extensions"] == {"code": "FORBIDDEN"}
    assert "CORS_ORIGINS" in body["errors"][0]["message"]


async def test_our_own_page_is_not(reader: Reader) -> None:
    async with talking_to(reader, additional_headers={"Origin": reader.url}) as talk:
        await talk.begin("{ __typename }")
        assert (await talk.receive())["payload"] == {"data": {"__typename": "Query"}}


async def test_another_path_has_no_socket(reader: Reader) -> None:
    other = Reader(reader.url + "/nothing", reader.http, reader.sql)
    with pytest.raises(InvalidStatus):
        async with connected_to(other):
            pass


async def test_invalid_utf_8_closes_with_1007(reader: Reader) -> None:
    async with talking_to(reader) as talk:
        await talk.connection.send(b"\xff\xfe", text=True)
        assert (await talk.closed())[0] == 1007


@pytest.fixture
async def guarded(database_url: str, shared_simulator: Simulator) -> AsyncIterator[LiveServer]:
    """A server that requires a read token and allows a page of another origin."""
    settings = make_settings(
        database_url,
        shared_simulator,
        read_tokens="reader",
        cors_origins="https://app.example.com",
        operations_per_connection=1,
    )
    async with live_server(settings) as live:
        yield live


@pytest.mark.slow
@pytest.mark.parametrize(
    "payload",
    [None, {}, {"authorization": "Bearer wrong"}, {"authorization": 7}, {"token": "reader"}],
)
async def test_without_a_read_token_closes_with_4403(guarded: LiveServer, payload: Any) -> None:
    async with connected_to(guarded) as talk:
        await talk.say("connection_init", **({} if payload is None else {"payload": payload}))
        code, reason = await talk.closed()
    assert code == 4403
    assert "READ_TOKENS" in reason


@pytest.mark.parametrize("name", ["authorization", "Authorization"])
async def test_the_token_comes_with_the_init_or_with_the_handshake(
    guarded: LiveServer, name: str
) -> None:
    elsewhere = {"Origin": "https://app.example.com"}
    async with talking_to(guarded, {name: "Bearer reader"}, additional_headers=elsewhere) as talk:
        await talk.begin(FOLLOW)
        assert (await talk.receive())["type"] == "next"
        await talk.begin(FOLLOW, "2")
        assert await talk.closed() == (4429, "Too many operations: at most 1 at once")
    async with talking_to(guarded, additional_headers={name: f"Bearer {TOKEN}"}) as talk:
        await talk.begin(FOLLOW)
        assert (await talk.receive())["type"] == "next"
