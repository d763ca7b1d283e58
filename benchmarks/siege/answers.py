"""Attacks by answers that nobody reads, and by subscriptions that are kept."""

import asyncio
from collections.abc import Callable

from benchmarks.siege.attacker import Attack, Attacker

_SOCKETS, _OPERATIONS = 10, 20
_HELD_SECONDS = 20.0
_SERIES = """prices(coin: "bitcoin", first: 10000) {
  points { timestamp observedAt price marketCap volume }
}"""
LARGE = f"{{ a: {_SERIES} b: {_SERIES} }}"
_WIDE = "#" + "a" * 98_000 + "\U0001f600"  # Python keeps 4 bytes of each character for it
FEW = "subscription { priceUpdates { kind } }"
MUCH = (
    "subscription { priceUpdates { kind revision prices { "
    + " ".join(f"a{number}: price" for number in range(30))
    + " } } }"
)


async def _over_sockets(attacker: Attacker, make: Callable[[], str], sockets: int) -> None:
    """Begin operations on WebSockets, and read nothing of what they bring."""

    async def work() -> None:
        async with attacker.socket() as (_, writer):
            for _ in range(_OPERATIONS):
                writer.write(attacker.subscribe(make()))
            await writer.drain()
            await asyncio.sleep(_HELD_SECONDS)

    await attacker.many(sockets, work)


async def _cached_over_sockets(attacker: Attacker) -> None:
    await _over_sockets(attacker, lambda: LARGE, _SOCKETS)


async def _new_over_sockets(attacker: Attacker) -> None:
    await _over_sockets(attacker, lambda: f"{LARGE} #{next(attacker.numbers)}", _SOCKETS)


def _unread(times: int, *headers: str, new: bool = False) -> Attack:
    """Ask by POST, and read nothing."""

    async def attack(attacker: Attacker) -> None:
        async def work() -> None:
            make = attacker.post if new else attacker.post_same
            async with attacker.connection() as (reader, writer):
                writer.transport.pause_reading()  # type: ignore[attr-defined] # of a socket
                writer.write(make(LARGE, *headers))
                attacker.said["asked"] += 1
                await asyncio.sleep(_HELD_SECONDS)
                del reader

        await attacker.many(times, work)

    return attack


async def _read_slowly(attacker: Attacker) -> None:
    """A kilobyte each tenth of a second, of answers that are small once compressed."""

    async def work() -> None:
        async with attacker.connection() as (reader, writer):
            writer.write(attacker.post(LARGE, "Accept-Encoding: gzip"))
            while await reader.read(1_000):  # noqa: ASYNC110 - slowness is the attack
                await asyncio.sleep(0.1)
            attacker.said["read"] += 1

    await attacker.many(100, work)


async def _wide_subscriptions(attacker: Attacker) -> None:
    await _over_sockets(attacker, lambda: f"{FEW} {_WIDE}{next(attacker.numbers)}", 2 * _SOCKETS)


async def _subscriptions(attacker: Attacker) -> None:
    """Subscriptions whose each event takes long to write; these are read."""

    async def work() -> None:
        async with attacker.socket() as (reader, writer):
            for _ in range(_OPERATIONS):
                writer.write(attacker.subscribe(MUCH))
            while await reader.read(65_536):
                pass

    await attacker.many(2 * _SOCKETS, work)


async def _subscriptions_by_streams(attacker: Attacker) -> None:
    async def work() -> None:
        async with attacker.connection() as (reader, writer):
            writer.write(attacker.post(FEW + _WIDE, "Accept: text/event-stream"))
            attacker.said[(await reader.read(1_000))[9:12].decode() or "closed"] += 1
            while await reader.read(65_536):
                pass

    await attacker.many(200, work)


ANSWERS: dict[str, Attack] = {
    "2 cached answers over WebSockets, unread": _cached_over_sockets,
    "2 new answers over WebSockets, unread": _new_over_sockets,
    "2 cached answers as event streams, unread": _unread(200, "Accept: text/event-stream"),
    "2 cached answers by POST, unread": _unread(200),
    "2 new answers by POST, unread": _unread(50, new=True),
    "5 subscriptions with large documents": _wide_subscriptions,
    "5 event streams with large documents": _subscriptions_by_streams,
    "5 subscriptions with expensive events": _subscriptions,
    "8 compressed answers, unread": _unread(100, "Accept-Encoding: gzip", new=True),
    "8 compressed answers, read slowly": _read_slowly,
}
