"""A client of Server-Sent Events."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx

from tests.server.streams.websocket_client import SECONDS
from tests.serving import Client

EVENTS = {"Accept": "text/event-stream"}


class Events:
    """The events of one response."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()

    async def next(self) -> tuple[str, Any]:
        """Wait for the next event, skipping comments; return its name and data."""
        name, data = "", ""
        async with asyncio.timeout(SECONDS):
            async for line in self._lines:
                field, _, value = line.partition(":")
                if field == "event":
                    name = value.strip()
                elif field == "data":
                    data = value.strip()
                elif not line and name:
                    return name, json.loads(data or "null")
        return "end", None


@contextlib.asynccontextmanager
async def events_of(
    client: Client, query: str, *, get: bool = False, **variables: Any
) -> AsyncIterator[Events]:
    body = {"query": query, "variables": variables}
    asked = (
        client.http.stream("GET", "/graphql", params={"query": query}, headers=EVENTS)
        if get
        else client.http.stream("POST", "/graphql", json=body, headers=EVENTS)
    )
    async with asked as response:
        yield Events(response)
