"""Connections of one address: how many may be open, and that those which end are forgotten."""

import asyncio
from ipaddress import ip_network

import orjson
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from ingestion.simulator import Simulator
from server.crowds import Crowds
from tests.serving import live_server, make_settings

MOST = 3


def test_each_address_has_its_own_count() -> None:
    crowds = Crowds(2)
    leave = crowds.enter("192.0.2.1")
    assert leave is not None
    assert crowds.enter("192.0.2.1") is not None
    assert crowds.enter("192.0.2.1") is None
    assert crowds.enter("192.0.2.2") is not None
    leave()
    leave()  # counts once
    assert crowds.enter("192.0.2.1") is not None
    assert crowds.enter("192.0.2.1") is None


def test_a_network_of_ipv6_is_one_address_and_a_proxy_is_many() -> None:
    crowds = Crowds(1, [ip_network("10.0.0.0/8")])
    assert crowds.enter("2001:db8::1") is not None
    assert crowds.enter("2001:db8::2") is None
    assert crowds.enter("2001:db8:0:1::2") is not None
    assert crowds.enter("10.1.2.3") is not None
    assert crowds.enter("10.1.2.3") is not None


def test_nothing_is_kept_of_who_has_left() -> None:
    crowds = Crowds(1)
    for number in range(200):
        leave = crowds.enter(f"192.0.2.{number}")
        assert leave is not None
        leave()
    assert len(crowds) == 0


async def test_one_connection_too_many_is_refused(
    database_url: str, shared_simulator: Simulator
) -> None:
    settings = make_settings(database_url, shared_simulator, max_connections_per_address=MOST)
    async with live_server(settings) as server:
        host, port = server.url.removeprefix("http://").split(":")
        address = f"ws://{host}:{port}/graphql"
        protocols = [Subprotocol("graphql-transport-ws")]
        socket = await connect(address, subprotocols=protocols)
        others = [await asyncio.open_connection(host, int(port)) for _ in range(MOST - 1)]
        reader, writer = await asyncio.open_connection(host, int(port))
        head, body = (await reader.read()).split(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 429 ")
        assert orjson.loads(body)["errors"][0]["extensions"]["code"] == "RATE_LIMITED"
        writer.close()
        with pytest.raises((InvalidStatus, OSError)):
            await connect(address, subprotocols=protocols)
        await socket.close()
        for _, other in others:
            other.close()
        while server.application.crowds:  # noqa: ASYNC110 - no event tells of it
            await asyncio.sleep(0.01)
        assert (await server.http.get("/health/live")).status_code == 200
