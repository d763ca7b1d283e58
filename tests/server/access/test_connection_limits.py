"""Limits on connections by address and in total."""

import asyncio
from ipaddress import ip_network

import orjson
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from server.access.connection_limits import ConnectionLimits, ConnectionSlot
from simulator import Simulator
from tests.serving import live_server, make_settings

MOST = 3


def acquire(connection_limits: ConnectionLimits, address: str) -> ConnectionSlot | None:
    return connection_limits.acquire(address, lambda: True)


def test_each_address_has_its_own_limit() -> None:
    connection_limits = ConnectionLimits(2)
    slot = acquire(connection_limits, "192.0.2.1")
    assert slot is not None
    assert acquire(connection_limits, "192.0.2.1") is not None
    assert acquire(connection_limits, "192.0.2.1") is None
    assert acquire(connection_limits, "192.0.2.2") is not None
    slot.release()
    slot.release()  # counts once
    assert acquire(connection_limits, "192.0.2.1") is not None
    assert acquire(connection_limits, "192.0.2.1") is None


def test_an_ipv6_network_counts_as_one_address_and_a_proxy_has_no_limit() -> None:
    connection_limits = ConnectionLimits(1, [ip_network("10.0.0.0/8")])
    for address, enters in (
        ("2001:db8::1", True),
        ("2001:db8::2", False),
        ("2001:db8:0:1::2", True),
        ("10.1.2.3", True),
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("::ffff:192.0.2.1", True),
        ("192.0.2.1", False),
        ("::ffff:c000:201", False),
    ):
        assert (acquire(connection_limits, address) is not None) == enters, address


def test_released_slots_leave_no_state() -> None:
    connection_limits = ConnectionLimits(1)
    for number in range(200):
        slot = acquire(connection_limits, f"192.0.2.{number}")
        assert slot is not None
        slot.mark_idle()
        slot.release()
    assert (
        len(connection_limits)
        == len(connection_limits.idle)
        == len(connection_limits.idle_clients)
        == 0
    )


class Connections:
    """Records the connections closed for new ones; those in `read` refuse to be closed."""

    def __init__(self, connection_limits: ConnectionLimits) -> None:
        self.connection_limits = connection_limits
        self.closed: list[str] = []
        self.read: set[str] = set()

    def open(self, name: str, address: str) -> ConnectionSlot | None:
        def close() -> bool:
            if name in self.read:
                return False
            self.closed.append(name)
            return True

        return self.connection_limits.acquire(address, close)

    def idle(self, name: str, address: str) -> ConnectionSlot:
        slot = self.open(name, address)
        assert slot is not None
        slot.mark_idle()
        return slot


def test_a_new_connection_replaces_the_longest_idle_one() -> None:
    connections = Connections(ConnectionLimits(3))
    first, _, third = (connections.idle(name, "192.0.2.1") for name in "abc")
    first.mark_active()
    third.mark_active()
    third.mark_idle()
    connections.idle("other", "192.0.2.2")
    connections.read.add("c")
    assert connections.open("d", "192.0.2.1") is not None
    assert connections.closed == ["b"]
    assert connections.open("e", "192.0.2.1") is None  # a is at work, c is read, d is new
    first.mark_idle()
    assert connections.open("f", "192.0.2.1") is not None
    assert connections.closed == ["b", "a"]


def test_at_the_file_limit_idle_clients_are_closed_before_proxies() -> None:
    connections = Connections(ConnectionLimits(0, [ip_network("10.0.0.0/8")], room=3))
    connections.idle("proxy", "10.0.0.1")
    connections.idle("a", "192.0.2.1")
    connections.idle("b", "192.0.2.2")
    for name in ("c", "d", "e", "f"):
        assert connections.open(name, "192.0.2.3") is not None
    assert connections.closed == ["a", "b", "proxy"]


async def test_a_connection_past_the_limit_is_rejected(
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
        while server.application.connection_limits:  # noqa: ASYNC110 - no event signals it
            await asyncio.sleep(0.01)
        assert (await server.http.get("/health/live")).status_code == 200
