"""Normalising addresses: IPv4-mapped IPv6 becomes IPv4."""

from ipaddress import ip_network

import pytest

from server.access.callers import caller_of
from server.config.addresses import is_within, normal_network, plain_address
from server.config.settings import load_settings


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::FFFF:C000:0201", "192.0.2.1"),
        ("0:0:0:0:0:ffff:192.0.2.1", "192.0.2.1"),
        ("::192.0.2.1", "::192.0.2.1"),  # not mapped
        ("64:ff9b::192.0.2.1", "64:ff9b::192.0.2.1"),  # NAT64: an IPv6 client
        ("2001:db8::1", "2001:db8::1"),
        ("::1", "::1"),
        ("unknown", "unknown"),
        ("a:b", "a:b"),
        ("", ""),
    ],
)
def test_plain_addresses(written: str, plain: str) -> None:
    assert plain_address(written) == plain
    assert caller_of(written) == caller_of(plain)


def test_an_ipv4_mapped_network_becomes_ipv4() -> None:
    assert normal_network("::ffff:10.0.0.0/104") == ip_network("10.0.0.0/8")
    assert normal_network("::ffff:10.0.0.7") == ip_network("10.0.0.7/32")
    assert normal_network("::/0") == ip_network("::/0")
    settings = load_settings(trusted_proxies="::ffff:10.0.0.0/104, ::ffff:192.0.2.7,2001:db8::/32")
    assert settings.trusted_proxies == ("10.0.0.0/8", "192.0.2.7", "2001:db8::/32")
    networks = (ip_network("10.0.0.0/8"), ip_network("2001:db8::/32"))
    for address, within in (
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("2001:db8::9", True),
        ("192.0.2.1", False),
        ("unknown", False),
        (None, False),
    ):
        assert is_within(address, networks) == within
