"""The HTTP protocol for uvicorn: it counts connections and lets the application abort them."""

import asyncio
from collections.abc import Awaitable
from typing import Any

from server.access.connection_limits import ConnectionSlot
from server.config.addresses import plain_peer
from server.http.backpressure import UNCOUNTED
from server.http.scope_state import ABORT, DRAIN, RELEASE
from server.transport.http_bounds import BoundedHttpProtocol


class HttpProtocol(BoundedHttpProtocol):
    """Counts its connection and gives the application functions that ASGI lacks.

    They are in the state of each scope, also after an upgrade to a WebSocket:
    `server.http.scope_state`.
    """

    _slot: ConnectionSlot | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in uvicorn
        """Count the connection; reject it if its address has too many."""
        peer = transport.get_extra_info("peername")
        address = peer[0] if isinstance(peer, tuple) else None
        app: Any = self.config.app  # Starlette's
        slot = self._slot = app.state.application.connection_limits.acquire(
            address, self._close_idle
        )
        release = None if slot is None else slot.release
        state = {ABORT: transport.abort, RELEASE: release, DRAIN: self._until_read}
        self.app_state = {**self.app_state, **state}
        transport.set_write_buffer_limits(UNCOUNTED)
        super().connection_made(transport)
        self.client = plain_peer(self.client)
        if slot is None:
            self.refuse(429, "Too many connections of this address are open.", "RATE_LIMITED")

    def on_response_complete(self) -> None:
        """Mark the connection as idle if no other request waits."""
        super().on_response_complete()
        if self.timeout_keep_alive_task is not None and self._slot is not None:
            self._slot.mark_idle()

    def _unset_keepalive_if_required(self) -> None:
        super()._unset_keepalive_if_required()
        if self._slot is not None:
            self._slot.mark_active()

    def _close_idle(self) -> bool:
        if self.transport.get_write_buffer_size():
            return False
        self.transport.close()
        return True

    def _until_read(self) -> Awaitable[None] | None:
        return self.flow.drain() if self.flow.write_paused else None

    def connection_lost(self, exc: Exception | None) -> None:
        """Release the slot of the connection."""
        super().connection_lost(exc)
        if self._slot is not None:
            self._slot.release()
