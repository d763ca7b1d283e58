"""Hostile clients, each on its own connections from another address of this host."""

import asyncio
import contextlib
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import urlsplit

import orjson

ADDRESS = "127.0.0.2"  # not the address of the well-behaved clients
_ANSWER_BYTES = 65_536
_FLOOD = 200
_SLOW_SECONDS = 0.5
_MOST_SECONDS = 10.0

Attack = Callable[["Target"], Awaitable[str]]


class Target:
    """The server under attack."""

    def __init__(self, url: str, chance: random.Random) -> None:
        address = urlsplit(url)
        self.host, self.port = address.hostname or "", address.port or 80
        self.chance = chance

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Open a connection for the block and abort it afterwards."""
        reader, writer = await asyncio.open_connection(
            self.host, self.port, local_addr=(ADDRESS, 0)
        )
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    async def send(self, content: bytes) -> str:
        """Send bytes. Returns the status of the response, or how the connection ended."""
        async with self.connection() as (reader, writer):
            writer.write(content)
            with contextlib.suppress(ConnectionError):
                await writer.drain()
            head = await reader.read(_ANSWER_BYTES)
        return head[9:12].decode("ascii", "replace") if head.startswith(b"HTTP/1.1") else "closed"

    async def post(self, body: bytes, kind: str = "application/json") -> str:
        return await self.send(
            f"POST /graphql HTTP/1.1\r\nHost: {self.host}\r\nContent-Type: {kind}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
            + body
        )

    async def ask(self, query: str) -> str:
        return await self.post(orjson.dumps({"query": query}))


async def _noise(target: Target) -> str:
    return await target.send(os.urandom(target.chance.randrange(1, 4_000)) + b"\r\n\r\n")


async def _half_json(target: Target) -> str:
    body = orjson.dumps({"query": "{ currencies { code } }", "variables": {"a": [1, 2]}})
    return await target.post(body[: target.chance.randrange(len(body))])


async def _nested_json(target: Target) -> str:
    return await target.post(b'{"query":"{__typename}","variables":' + b"[" * 90_000)


async def _oversized(target: Target) -> str:
    return await target.post(b'{"query":"' + b"#" * 10_000_000 + b'"}')


async def _slow(target: Target) -> str:
    """Send a body byte by byte, until the server ends the connection."""
    async with target.connection() as (reader, writer):
        writer.write(
            b"POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 5000\r\n\r\n"
        )
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(_MOST_SECONDS):
                while not reader.at_eof():
                    writer.write(b" ")
                    await writer.drain()
                    await asyncio.sleep(_SLOW_SECONDS)
    return "slow"


async def _bomb(target: Target) -> str:
    """Send fragments that double with each level."""
    levels = "".join(
        f"fragment f{level} on Query {{ ...f{level + 1} ...f{level + 1} }} " for level in range(40)
    )
    return await target.ask(f"{{ ...f0 }} {levels} fragment f40 on Query {{ __typename }}")


async def _aliases(target: Target) -> str:
    fields = " ".join(f"a{number}: __typename" for number in range(5_000))
    return await target.ask(f"{{ {fields} }}")


async def _same_names(target: Target) -> str:
    return await target.ask("{ " + "__typename " * 8_000 + "}")


async def _everything(target: Target) -> str:
    fields = " ".join(
        f'p{number}: prices(coin: "bitcoin", first: 10000) {{ points {{ timestamp price }} }}'
        for number in range(500)
    )
    return await target.ask(f"{{ {fields} }}")


async def _flood(target: Target) -> str:
    """Open connections and send nothing."""
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(_FLOOD):
            await stack.enter_async_context(target.connection())
        await asyncio.sleep(1)
    return "flooded"


async def _frames(target: Target) -> str:
    """Send a WebSocket handshake, then random bytes."""
    async with target.connection() as (reader, writer):
        writer.write(
            b"GET /graphql HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n"
        )
        await reader.read(_ANSWER_BYTES)
        writer.write(os.urandom(target.chance.randrange(1, 2_000)))
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(1):
                await reader.read(_ANSWER_BYTES)
    return "frames"


ATTACKS: dict[str, Attack] = {
    "bytes that are no HTTP": _noise,
    "half a JSON document": _half_json,
    "JSON 90,000 levels deep": _nested_json,
    "a body of 10 MB": _oversized,
    "a body byte by byte": _slow,
    "fragments that double 40 times": _bomb,
    "5,000 aliases": _aliases,
    "one field 8,000 times": _same_names,
    "500 times 10,000 points": _everything,
    f"{_FLOOD} silent connections": _flood,
    "frames that are none": _frames,
}


def attack_all(url: str, seconds: float) -> dict[str, Counter[str]]:
    """Run all attacks at once. Returns counts of the outcomes by attack."""
    return asyncio.run(_attack_all(url, seconds))


async def _attack_all(url: str, seconds: float) -> dict[str, Counter[str]]:
    said: dict[str, Counter[str]] = {name: Counter() for name in ATTACKS}
    async with asyncio.TaskGroup() as group:
        for name, counts in said.items():
            group.create_task(_again(url, name, seconds, counts))
    return said


async def _again(url: str, name: str, seconds: float, said: Counter[str]) -> None:
    """Repeat one attack and count the outcomes."""
    target = Target(url, random.Random(name))  # noqa: S311 - reproducible
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while loop.time() < until:
        try:
            async with asyncio.timeout(_MOST_SECONDS + 5):
                said[await ATTACKS[name](target)] += 1
        except (OSError, TimeoutError) as error:
            said[type(error).__name__] += 1
            await asyncio.sleep(0.05)
