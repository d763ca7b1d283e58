"""Bytes that clients have sent and that nobody has processed yet: a bound for each caller."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network

from uvicorn.protocols.http.flow_control import FlowControl

from server.access.callers import caller_of
from server.config.addresses import is_within

MOST_EACH = 16_000_000  # bytes of one caller
MOST = 64_000_000  # bytes of all together


class BacklogBudget:
    """Counts what all connections of this process hold. Callers are named by `caller_of`.

    Behind one of the `proxies` are many callers, so that only the bound of all holds for them.
    """

    def __init__(self, proxies: Sequence[IPv4Network | IPv6Network] = ()) -> None:
        self._proxies = tuple(proxies)
        self._held: Counter[str] = Counter()
        self.total = 0

    def change(self, address: str | None, difference: int) -> bool:
        """Count so many bytes more, or less. Return False, and count nothing, past a bound."""
        caller = caller_of(address)
        held = self._held[caller] + difference
        if difference > 0:
            limited = held > MOST_EACH and not is_within(address, self._proxies)
            if limited or self.total + difference > MOST:
                return False
        self.total += difference
        if held:
            self._held[caller] = held
        else:
            del self._held[caller]
        return True

    def __len__(self) -> int:
        """How many callers have a backlog."""
        return len(self._held)


class PausableFlowControl(FlowControl):
    """uvicorn's flow control, which reads nothing while `paused`.

    uvicorn resumes reading whenever an application asks for more of its request.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__(transport)
        self.paused = False

    def pause(self) -> None:
        self.paused = True
        self.pause_reading()

    def resume(self) -> None:
        if self.paused:
            self.paused = False
            self.resume_reading()

    def resume_reading(self) -> None:
        if not self.paused:
            super().resume_reading()
