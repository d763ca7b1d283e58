"""Clients of CoinGecko that do not wait, and servers that misbehave."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx

from ingestion.coingecko.client import CoinGecko
from ingestion.coingecko.urls import ApiPlan
from ingestion.quota.throttle import Throttle

KEY = "CG-0123456789abcdef"


PING = b'{"gecko_says":"(V3) To the Moon!"}'


Reply = Callable[[httpx.Request], httpx.Response]


def throttle(*, first_pause: float = 0.01) -> Throttle:
    return Throttle(60_000, first_pause=first_pause, max_pause=0.05)


def client(
    reply: Reply | None = None,
    *,
    base_url: str | None = None,
    plan: ApiPlan = "keyless",
    api_key: str | None = None,
    attempts: int = 3,
    timeout: float = 30.0,
) -> CoinGecko:
    return CoinGecko(
        throttle=throttle(),
        base_url=base_url,
        plan=plan,
        api_key=api_key,
        attempts=attempts,
        timeout=timeout,
        transport=httpx.MockTransport(reply) if reply else None,
    )


def http(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


@asynccontextmanager
async def serving(
    *replies: bytes, keep_open: float = 0.0, drip: float = 0.0
) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Answers each connection with the next of `replies` (the last one again and again)."""
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        reply = replies[min(len(heads), len(replies)) - 1]
        try:
            for piece in [reply[i : i + 1] for i in range(len(reply))] if drip else [reply]:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(drip)
            await asyncio.sleep(keep_open)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/api/v3", heads
