"""Real proxies in a thread: HTTP (forwarding and CONNECT) and SOCKS5. Each leads to one server."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

from tests.serving import in_thread


@dataclass
class Forwarder:
    """A proxy on 127.0.0.1. `asked`: the requested hosts and ports."""

    target: tuple[str, int]
    login: str | None = None  # user:password that is wanted
    port: int = 0
    asked: list[str] = field(default_factory=list)

    async def http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        method, address, _ = head.split(" ", 2)
        self.asked.append(address)
        if self.login:
            wanted = base64.b64encode(self.login.encode()).decode()
            if f"proxy-authorization: basic {wanted}".lower() not in head.lower():
                writer.write(b"HTTP/1.1 407 Who are you?\r\nContent-Length: 0\r\n\r\n")
                return
        upstream = await asyncio.open_connection(*self.target)
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        else:  # the head goes on with the path alone; the connection ends with the answer
            path = "/" + address.split("/", 3)[3]
            lines = [line for line in head.split("\r\n")[1:] if not line.startswith("Proxy-")]
            head = f"{method} {path} HTTP/1.1\r\nConnection: close\r\n" + "\r\n".join(lines)
            upstream[1].write(head.encode("latin-1"))
        await _join((reader, writer), upstream)

    async def socks5(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        count = (await reader.readexactly(2))[1]
        methods = await reader.readexactly(count)
        if self.login:
            if 2 not in methods:
                writer.write(b"\x05\xff")
                return
            writer.write(b"\x05\x02")
            user = await reader.readexactly((await reader.readexactly(2))[1])
            password = await reader.readexactly((await reader.readexactly(1))[0])
            good = f"{user.decode()}:{password.decode()}" == self.login
            writer.write(b"\x01\x00" if good else b"\x01\x01")
            if not good:
                return
        else:
            writer.write(b"\x05\x00")
        *_, kind = await reader.readexactly(4)
        assert kind == 3, "the name is the proxy's to resolve"
        name = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        port = int.from_bytes(await reader.readexactly(2))
        self.asked.append(f"{name}:{port}")
        upstream = await asyncio.open_connection(*self.target)
        writer.write(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00")
        await _join((reader, writer), upstream)


_Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _join(one: _Stream, other: _Stream) -> None:
    async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65_536):
                target.write(data)
                await target.drain()
        target.close()

    try:
        await asyncio.gather(copy(one[0], other[1]), copy(other[0], one[1]))
    finally:
        other[1].close()


@contextlib.contextmanager
def forwarding(kind: str, target: tuple[str, int], login: str | None = None) -> Iterator[Forwarder]:
    """Run a proxy, `http` or `socks5`, during the block."""
    forwarder = Forwarder(target, login)
    serve = forwarder.http if kind == "http" else forwarder.socks5

    tasks = set[asyncio.Task[None]]()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await serve(reader, writer)
                await writer.drain()
        finally:
            writer.close()

    @contextlib.asynccontextmanager
    async def running() -> AsyncIterator[None]:
        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        forwarder.port = server.sockets[0].getsockname()[1]
        yield
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    with in_thread(running()):
        yield forwarder
