"""Bounds on received bytes that are not parsed yet, for each caller and in total."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network

from uvicorn.protocols.http.flow_control import FlowControl

from server.access.callers import caller_of
from server.config.addresses import is_within

MOST_EACH = 16_000_000  # bytes of one caller
MOST = 64_000_000  # bytes of all callers


class BacklogBudget:
    """Counts the unparsed bytes of all connections of this process by caller (`caller_of`).

    An address within `proxies` stands for many callers, so only the total bound applies to it.
    """

    def __init__(self, proxies: Sequence[IPv4Network | IPv6Network] = ()) -> None:
        self._proxies = tuple(proxies)
        self._held: Counter[str] = Counter()
        self.total = 0

    def change(self, address: str | None, difference: int) -> bool:
        """Add `difference` bytes, which may be negative; return False if that exceeds a bound."""
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
        """The number of callers with unparsed bytes."""
        return len(self._held)


class PausableFlowControl(FlowControl):
    """uvicorn's flow control with a pause that the application cannot end.

    uvicorn resumes reading whenever the application receives more of its request.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__(transport)
        self.paused = False

    def pause(self) -> None:
        """Read nothing until `resume`."""
        self.paused = True
        self.pause_reading()

    def resume(self) -> None:
        """End the pause, if there is one."""
        if self.paused:
            self.paused = False
            self.resume_reading()

    def resume_reading(self) -> None:
        """Resume reading unless paused."""
        if not self.paused:
            super().resume_reading()
