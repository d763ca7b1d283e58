"""How many connections one address has open in this process."""

from collections import Counter
from collections.abc import Callable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address

from server.rates import account_of


class Crowds:
    """Counts connections by address, an IPv6 network of 64 bits as one; `most` 0: without a limit.

    Addresses of `proxies` are many people's, and are not limited.
    """

    def __init__(self, most: int, proxies: Sequence[IPv4Network | IPv6Network] = ()) -> None:
        self._most = most
        self._proxies = tuple(proxies)
        self._open: Counter[str] = Counter()

    def __len__(self) -> int:
        """How many addresses have connections open."""
        return len(self._open)

    def enter(self, address: str | None) -> Callable[[], None] | None:
        """Count a connection; what to call, at least once, when it ends. None: one too many."""
        if not self._most or self._is_proxy(address):
            return _nothing
        name = account_of(address)
        if self._open[name] >= self._most:
            return None
        self._open[name] += 1
        left = False

        def leave() -> None:
            nonlocal left
            if not left:
                left = True
                self._open[name] -= 1
                if not self._open[name]:
                    del self._open[name]

        return leave

    def _is_proxy(self, address: str | None) -> bool:
        if not self._proxies:
            return False
        try:
            parsed = ip_address(address or "")
        except ValueError:
            return False
        return any(parsed in network for network in self._proxies)


def _nothing() -> None:
    pass
