"""A WebSocket client that sends any messages, valid or not."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.serving import Client

FOLLOW = "subscription { priceUpdates { kind revision prices { coin currency price } } }"
SECONDS = 60  # more than anything takes


class Talk:
    """One connection."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def say(self, kind: str, /, **more: Any) -> None:
        await self.connection.send(json.dumps({"type": kind, **more}))

    async def receive(self) -> Any:
        """Wait for the next message, which must be text."""
        async with asyncio.timeout(SECONDS):
            text = await self.connection.recv()
        assert isinstance(text, str)
        return json.loads(text)

    async def begin(self, query: str = FOLLOW, operation_id: str = "1", **payload: Any) -> None:
        await self.say("subscribe", id=operation_id, payload={"query": query, **payload})

    async def closed(self) -> tuple[int, str]:
        """Skip messages until the close; return its code and reason."""
        async with asyncio.timeout(SECONDS):
            with contextlib.suppress(ConnectionClosed):
                while True:
                    await self.connection.recv()
            await self.connection.wait_closed()
        return self.connection.close_code or 0, self.connection.close_reason or ""


@contextlib.asynccontextmanager
async def connected_to(client: Client, **more: Any) -> AsyncIterator[Talk]:
    """Connect without sending a message."""
    url = client.url.replace("http", "ws", 1) + "/graphql"
    options: dict[str, Any] = {"subprotocols": ["graphql-transport-ws"], "proxy": None, **more}
    async with connect(url, **options) as connection:
        yield Talk(connection)


@contextlib.asynccontextmanager
async def talking_to(
    client: Client, payload: dict[str, Any] | None = None, **more: Any
) -> AsyncIterator[Talk]:
    """Connect and be acknowledged."""
    async with connected_to(client, **more) as talk:
        await talk.say("connection_init", **({} if payload is None else {"payload": payload}))
        assert await talk.receive() == {"type": "connection_ack"}
        yield talk
