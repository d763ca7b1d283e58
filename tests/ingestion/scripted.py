"""An upstream over real HTTP whose answers a test can spoil or replace; it counts its calls."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
OFFSET_MS = 270_000  # of hourly samples past the hour

HANG = b"hang"
_TLS = b"\x16"  # the first byte of a handshake

Kind = Literal["chart", "daily", "price", "coin", "list", "other"]
Query = dict[str, str]


@dataclass
class ScriptedUpstream:
    """`spoil` changes the JSON of answers of a kind, `spoil_chart` and `spoil_coin` that of answers
    about a coin; `refuse` gives raw bytes instead of one.

    Empty bytes close the connection without an answer, HANG keeps it open. A client that begins
    with TLS is counted and hung up on. `offset_ms` is by how much daily points lie past midnight.
    """

    url: str = ""
    calls: list[tuple[Kind, str]] = field(default_factory=list)
    spoil: dict[Kind, Callable[[Any], Any]] = field(default_factory=dict)
    spoil_chart: Callable[[Any, str], Any] = lambda answer, _coin: answer
    spoil_coin: Callable[[Any, str], Any] = lambda answer, _coin: answer
    refuse: Callable[[Kind, str], bytes | None] = lambda _kind, _target: None
    offset_ms: int = 0
    clock: Callable[[], float] = time.time

    def count(self, *kinds: Kind) -> int:
        return sum(kind in kinds for kind, _ in self.calls)

    def reply(self, target: str) -> bytes:
        kind, path, query = _read(target)
        self.calls.append((kind, target))
        refused = self.refuse(kind, target)
        if refused is not None:
            return refused
        answer = self._answer(kind, path, query)
        if kind == "chart":
            answer = self.spoil_chart(answer, path.split("/")[-3])
        if kind == "coin":
            answer = self.spoil_coin(answer, path.split("/")[-1])
        if kind in self.spoil:
            answer = self.spoil[kind](answer)
        return http(json.dumps(answer).encode())

    def _answer(self, kind: Kind, path: str, query: Query) -> Any:
        now = self.clock()
        if kind in {"chart", "daily"}:
            return self._chart(kind, int(query["from"]) * 1000, int(query["to"]) * 1000, now)
        if kind == "price":
            quote: dict[str, float] = {"last_updated_at": int(now) - 30}
            for code in query["vs_currencies"].split(","):
                quote |= {code: 101.5, f"{code}_market_cap": 5e9, f"{code}_24h_vol": 1e6}
                quote[f"{code}_24h_change"] = 1.5
            return dict.fromkeys(query["ids"].split(","), quote)
        if kind == "coin":
            coin = unquote(path.rsplit("/", 1)[-1])
            return {
                "id": coin, "symbol": coin[:3], "name": coin.upper(),
                "description": {"en": "A coin."}, "image": {"large": "https://img.example/c.png"},
                "links": {"homepage": ["https://coin.example/"]},
            }  # fmt: skip
        if kind == "list":
            return [{"id": "bitcoin", "symbol": "btc", "name": "Bitcoin"}]
        return {"gecko_says": "(V3) To the Moon!"}

    def _chart(self, kind: Kind, start: int, end: int, now: float) -> Any:
        step, offset = (DAY_MS, self.offset_ms) if kind == "daily" else (HOUR_MS, OFFSET_MS)
        end = min(end, int(now * 1000))
        times = [at + offset for at in range(start - start % step, end, step)]
        times = [at for at in times if start <= at <= end]
        if kind == "daily":  # the unaligned "now" point
            times.append(end - 1000)
        return {
            name: [[at, factor * price_at(at)] for at in times]
            for name, factor in (("prices", 1), ("market_caps", 1e6), ("total_volumes", 10))
        }


def price_at(at_ms: int) -> float:
    """A price that encodes its hour."""
    return 100 + at_ms // HOUR_MS % 1000 / 10


def http(body: bytes = b"", *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "Connection: close"]
    return "\r\n".join([*lines, "", ""]).encode() + body


@asynccontextmanager
async def scripted(**settings: Any) -> AsyncIterator[ScriptedUpstream]:
    upstream = ScriptedUpstream(**settings)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if (first := await reader.readexactly(1)) == _TLS:
                upstream.calls.append(("other", "TLS"))
                return
            head = first + await reader.readuntil(b"\r\n\r\n")
            reply = upstream.reply(head.split(b" ")[1].decode())
            if reply == HANG:
                await reader.read()  # until the client gives up
                return
            writer.write(reply)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        upstream.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api/v3"
        yield upstream


def _read(target: str) -> tuple[Kind, str, Query]:
    parts = urlsplit(target)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    if "market_chart" in parts.path:
        long = int(query["to"]) - int(query["from"]) > 90 * 86_400
        return ("daily" if long else "chart"), parts.path, query
    if "simple/price" in parts.path:
        return "price", parts.path, query
    if parts.path.endswith("/coins/list"):
        return "list", parts.path, query
    return ("coin" if "/coins/" in parts.path else "other"), parts.path, query
