"""The name of a caller, by which everything is counted, queued or bounded."""

from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network, ip_address

_SITE = 64  # bits: the smallest IPv6 network that a provider assigns to a customer
_UNKNOWN = "unknown"
_LONGEST = 100  # characters: longer text is no address, and is not cached


def caller_of(address: str | None) -> str:
    """Return the caller's name: an IPv4 address, or the /64 network of an IPv6 address.

    IPv4-mapped IPv6 counts as IPv4. Everything that is no address, for example a Unix socket, is
    one caller. Behind TRUSTED_PROXIES the address is the client's, as `Forwarding` sets it.
    """
    return _UNKNOWN if address is None or len(address) > _LONGEST else _caller_of(address)


@lru_cache(maxsize=4096)
def _caller_of(address: str) -> str:
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return _UNKNOWN
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(IPv6Network((parsed, _SITE), strict=False))
    return str(parsed)
