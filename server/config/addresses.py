"""Normalises addresses and networks: an IPv4-mapped IPv6 address becomes IPv4."""

from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

_MAPPED_BITS = 96  # of ::ffff:0:0/96, RFC 4291, 2.5.5.2
_MAPPED = IPv6Address("::ffff:0:0")


@lru_cache(maxsize=4096)
def plain_address(text: str) -> str:
    """Return an IPv4-mapped address (`::ffff:192.0.2.1`) as IPv4, all other text unchanged."""
    if ":" not in text:
        return text
    try:
        mapped = IPv6Address(text).ipv4_mapped
    except ValueError:
        return text
    return text if mapped is None else str(mapped)


def normal_network(text: str) -> IPv4Network | IPv6Network:
    """Parse an address or a network; an IPv4-mapped one as IPv4. Raises ValueError."""
    network = ip_network(text)
    if isinstance(network, IPv6Network) and network.prefixlen >= _MAPPED_BITS:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return IPv4Network((mapped, network.prefixlen - _MAPPED_BITS))
    return network


def spellings(text: str) -> tuple[str, ...]:
    """Return the network; for an IPv4 one also its IPv4-mapped IPv6 network."""
    network = normal_network(text)
    if isinstance(network, IPv6Network):
        return (str(network),)
    mapped = IPv6Address(int(_MAPPED) + int(network.network_address))
    return str(network), f"{mapped}/{_MAPPED_BITS + network.prefixlen}"


def is_within(address: str | None, networks: tuple[IPv4Network | IPv6Network, ...]) -> bool:
    """Return True if a network contains the address; False for None and for invalid addresses."""
    try:
        parsed: IPv4Address | IPv6Address = ip_address(plain_address(address or ""))
    except ValueError:
        return False
    return any(parsed in network for network in networks)


def plain_peer(peer: tuple[str, int] | None) -> tuple[str, int] | None:
    """Return the peer of a connection with its address normalised."""
    return None if peer is None else (plain_address(peer[0]), peer[1])
