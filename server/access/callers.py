"""Who a caller is: the one rule for everything that is counted, queued or bounded by caller."""

from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network, ip_address

_SITE = 64  # bits: what one customer of a provider is given at least
_UNKNOWN = "unknown"
_LONGEST = 100  # characters: longer text is no address, and is not kept in the memory of this rule


def caller_of(address: str | None) -> str:
    """Name the caller at an address: of IPv4 the address, of IPv6 its network of 64 bits.

    IPv4-mapped IPv6 is IPv4. What is no address, such as a Unix socket or a proxy's made-up name,
    is one caller. Behind TRUSTED_PROXIES the address is the client's, as `Forwarding` sets it.
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
