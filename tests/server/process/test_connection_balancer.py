"""The distribution of connections while workers start, lag, end and die."""

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from server.process import connection_balancer as dealing
from server.process.connection_balancer import ConnectionBalancer
from server.process.control_protocol import ALIVE, GONE, READY, TAKEN

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="one process only there")


class Worker:
    """The worker's end of a control socket."""

    def __init__(self, dealer: ConnectionBalancer) -> None:
        ours, self.control = socket.socketpair()
        for end in (ours, self.control):
            end.setblocking(False)
        self.taken: list[socket.socket] = []
        self._ours = ours
        self.silent = asyncio.Event()
        self._dealing = asyncio.create_task(
            dealer.serve_worker(ours, lambda: None, self.silent.set)
        )
        self._arrived = asyncio.Event()
        asyncio.get_running_loop().add_reader(self.control, self._arrived.set)

    async def take(self, *, confirm: bool = True) -> socket.socket:
        """Wait for a connection."""
        async with asyncio.timeout(60):
            while True:
                self._arrived.clear()
                with contextlib.suppress(BlockingIOError):
                    _, (descriptor,), *_ = socket.recv_fds(self.control, 1, 1)
                    break
                await self._arrived.wait()
        if confirm:
            self.control.send(TAKEN)
        self.taken.append(socket.socket(fileno=descriptor))
        return self.taken[-1]

    async def die(self) -> None:
        asyncio.get_running_loop().remove_reader(self.control)
        self.control.close()
        await self._dealing
        self._ours.close()
        for connection in self.taken:
            connection.close()


class Table:
    """A balancer with workers and clients."""

    def __init__(self, workers: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.dealer = ConnectionBalancer([self._listener], workers)
        self.workers = [Worker(self.dealer) for _ in range(workers)]
        self.clients: list[socket.socket] = []

    def connect(self) -> socket.socket:
        self.clients.append(socket.create_connection(self._listener.getsockname()))
        return self.clients[-1]


@pytest.fixture
async def table() -> AsyncIterator[Table]:
    table = Table(2)
    yield table
    table.dealer.close()
    for worker in table.workers:
        await worker.die()
    for client in table.clients:
        client.close()


def peer(connection: socket.socket) -> object:
    return connection.getpeername()


async def test_connections_waiting_for_the_start_are_balanced(table: Table) -> None:
    first, second = table.workers
    first.control.send(READY)
    clients = {table.connect().getsockname() for _ in range(4)}
    await asyncio.sleep(0.05)  # the first one's chance to take all
    second.control.send(READY)
    taken = {peer(await worker.take()) for worker in (first, first, second, second)}
    assert taken == clients


async def test_a_worker_that_dies_at_the_start_blocks_no_other(table: Table) -> None:
    first, second = table.workers
    second.control.send(READY)
    client = table.connect()
    await first.die()
    table.workers.remove(first)
    assert peer(await second.take()) == client.getsockname()


async def test_unconfirmed_connections_of_a_dead_worker_go_to_another(table: Table) -> None:
    first, second = table.workers
    for worker in table.workers:
        worker.control.send(READY)
    clients = [table.connect() for _ in range(2)]
    lost = peer(await first.take(confirm=False))
    kept = peer(await second.take())
    await first.die()
    table.workers.remove(first)
    connection = await second.take()
    assert peer(connection) == lost
    assert {lost, kept} == {client.getsockname() for client in clients}
    connection.sendall(b"still here")
    (client,) = (each for each in clients if each.getsockname() == lost)
    client.settimeout(60)
    assert client.recv(100) == b"still here"


async def test_a_hanging_worker_is_skipped(table: Table) -> None:
    _hanging, second = table.workers
    for worker in table.workers:
        worker.control.send(READY)
    clients = {table.connect().getsockname() for _ in range(60)}
    taken = {peer(await second.take()) for _ in range(60 - 16)}
    assert len(taken) == 44
    assert taken < clients


async def test_the_worker_with_the_fewest_connections_is_next(table: Table) -> None:
    first, second = table.workers
    for worker in table.workers:
        worker.control.send(READY)
    for worker in (first, second) * 2:
        table.connect()
        await worker.take()
    second.control.send(GONE + GONE)
    await asyncio.sleep(0.05)  # the loop reads sockets before it looks at the time
    for _ in range(2):
        table.connect()
        await second.take()
    table.connect()
    await first.take()


async def test_a_closed_balancer_refuses_connections(table: Table) -> None:
    table.workers[0].control.send(READY)
    table.connect()
    address = table.clients[0].getpeername()
    table.dealer.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
    table.clients[0].settimeout(60)
    with contextlib.suppress(ConnectionResetError):
        assert table.clients[0].recv(1) == b""


def test_descriptors_are_not_leaked() -> None:
    """No passed connection stays open in the parent."""

    async def deal() -> None:
        table = Table(1)
        (worker,) = table.workers
        worker.control.send(READY)
        for _ in range(20):
            table.connect()
            await worker.take()
        await worker.die()
        table.dealer.close()
        for client in table.clients:
            client.close()

    before = _open()
    asyncio.run(deal())
    assert _open() - before == set()  # servers of other tests may close some of theirs


def _open() -> set[tuple[int, int, int]]:
    """Return the open descriptors of this process."""
    found = set()
    for each in Path("/dev/fd").iterdir():
        with contextlib.suppress(OSError):  # of this listing itself
            status = os.fstat(int(each.name))
            found.add((int(each.name), status.st_dev, status.st_ino))
    return found


@pytest.mark.slow
async def test_silence_is_reported_and_a_message_ends_it(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dealing, "SILENCE_SECONDS", 2.0)
    alive, hung = table.workers
    for worker in table.workers:
        worker.control.send(READY)
    while not hung.silent.is_set():  # each of its words comes within a fraction of that
        alive.control.send(ALIVE)
        await asyncio.sleep(0.05)
    assert not alive.silent.is_set()
