"""Chooses the proxy for a URL from the environment.

httpx reads the same variables, but raises at values that other programs accept, for example an IPv6
network in NO_PROXY. The rules are those that curl and Go share:
https://about.gitlab.com/blog/we-need-to-talk-no-proxy/ compares them.
"""

import os
import re
import urllib.request
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import unquote, urlsplit

from ingestion.coingecko.redaction import login_pair

_SCHEMES = {"http", "https", "socks5", "socks5h"}
_PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
_ENTRY = re.compile(r"\[(?P<six>[^\]]*)\](?::(?P<port6>\d+))?|(?P<host>[^:]*)(?::(?P<port>\d+))?")
_HOST_AND_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:\[\]/?#@%<>\"\\^`{|}]+)(?::(\d{1,5}))?")
_MOST_PORT = 65_535

Address = IPv4Address | IPv6Address


class ProxyError(ValueError):
    """A variable names no usable proxy. The message names the variable, not its value."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy: `url` without credentials, and `login`: user and password."""

    url: str
    login: tuple[str, str] | None = None


def proxy_for(url: str) -> Proxy | None:
    """Return the proxy for requests to `url`, None for a direct connection. Raises ProxyError.

    Loopback addresses never use a proxy.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    port = parts.port or _PORTS.get(parts.scheme, 0)
    named = urllib.request.getproxies()
    value = (named.get(parts.scheme) or named.get("all") or "").strip()
    if not value or _is_loopback(host) or bypassed(host, port, named.get("no", "")):
        return None
    if not urllib.request.getproxies_environment() and urllib.request.proxy_bypass(host):
        return None  # exceptions in the settings of Windows or macOS
    return _proxy(value, _variable(parts.scheme))


def proxy_secrets() -> set[str]:
    """Return the credentials in all proxy variables, to be redacted in logs."""
    found = set[str]()
    for value in urllib.request.getproxies().values():
        login = value.partition("://")[2].rpartition("@")[0] or value.rpartition("@")[0]
        found |= login_pair(*login.partition(":")[::2])
    return found


def bypassed(host: str, port: int, exceptions: str) -> bool:
    """Return True if NO_PROXY matches the host: by name, domain, address, network, or `*`.

    Entries are separated by commas or spaces and may have a port. Other entries match nothing.
    """
    host = host.lower().strip("[]").rstrip(".")
    address = _address(host)
    return any(_matches(entry, host, port, address) for entry in re.split(r"[,\s]+", exceptions))


def _matches(entry: str, host: str, port: int, address: Address | None) -> bool:
    if entry == "*":
        return True
    if address is not None and _in_network(entry.strip("[]"), address):
        return True
    form = _ENTRY.fullmatch(entry.lower())
    if form is None:
        return False
    wanted = form["port"] or form["port6"]
    if wanted and int(wanted[:9]) != port:
        return False
    if address is not None:
        return _in_network(form["six"] or form["host"] or "", address)
    domain = (form["host"] or "").removeprefix("*").strip(".")
    return bool(domain) and (host == domain or host.endswith(f".{domain}"))


def _in_network(text: str, address: Address) -> bool:
    try:
        return address in ip_network(text, strict=False)
    except ValueError:
        return False


def _address(host: str) -> Address | None:
    try:
        address = ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _is_loopback(host: str) -> bool:
    if address := _address(host):
        return address.is_loopback
    return host.lower() == "localhost" or host.lower().endswith(".localhost")


def _variable(scheme: str) -> str:
    """Return the name of the variable with the proxy for this scheme, for messages."""
    for name in (f"{scheme}_proxy", f"{scheme}_PROXY".upper(), "all_proxy", "ALL_PROXY"):
        if os.environ.get(name, "").strip():
            return name
    return "the system's proxy settings"


def _proxy(value: str, variable: str) -> Proxy:
    scheme, separator, rest = value.partition("://")
    if not separator:
        scheme, rest = "http", value.removeprefix("//")
    scheme = scheme.lower()
    scheme = "socks5" if scheme == "socks" else scheme  # as GNOME writes it
    if scheme not in _SCHEMES:
        raise ProxyError(
            f"{variable}: names a proxy of an unknown kind; use http, https, socks5 or socks5h"
        )
    login, _, place = rest.rpartition("@")  # the last @: a password may contain others
    place = re.split(r"[/?#]", place, maxsplit=1)[0]
    form = _HOST_AND_PORT.fullmatch(place)
    if form is None or (form[2] and not 0 < int(form[2]) <= _MOST_PORT):
        raise ProxyError(f"{variable}: names no proxy; write it like http://proxy.example:3128")
    user, _, password = login.partition(":")
    port = form[2] or _PORTS[scheme]
    return Proxy(
        f"{scheme}://{form[1]}:{port}", (unquote(user), unquote(password)) if login else None
    )
