"""Opens the listening sockets for HOST and PORT."""

import contextlib
import errno
import socket
from collections.abc import Sequence

import structlog

from server.config.addresses import plain_address

log = structlog.get_logger("coingraph.server")

_BACKLOG = 2048
_TRIES = 20  # attempts to find a port that is free at all addresses
_ANY4, _ANY6 = "0.0.0.0", "::"  # noqa: S104 - names of settings
_LOCAL = "localhost"
_ABSENT = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT}

_Address = tuple[socket.AddressFamily, str]


class ListenError(Exception):
    """The server cannot listen on an address. The message is one line with a remedy."""


def open_listeners(host: str, port: int) -> list[socket.socket]:
    """Listen on all addresses of `host`: addresses or names, separated by commas.

    `::` and `*` include IPv4, and mean IPv4 alone on a machine without IPv6. With port 0 all
    sockets get the same free port. Raises ListenError.
    """
    names = [_normal(name) for name in host.split(",") if name.strip()]
    if not names:
        raise ListenError("HOST: name at least one address, or leave it out for 127.0.0.1.")
    found = dict.fromkeys(each for name in names for each in _addresses_of(name, port))
    addresses = _without_needless(list(found))
    for left in reversed(range(_TRIES)):
        try:
            return _listen(addresses, port)
        except OSError as error:
            if port or error.errno != errno.EADDRINUSE or not left:
                raise ListenError(
                    f"{_joined(host, port)} cannot be listened on: {error.strerror or error}. "
                    "Choose another with --host and --port, or HOST and PORT."
                ) from None
    raise AssertionError


def _normal(name: str) -> str:
    """Normalise a name; an IPv4-mapped address becomes IPv4."""
    return plain_address(name.strip().strip("[]").lower())


def url_of(host: str, listeners: Sequence[socket.socket]) -> str:
    """Return a URL of the server for a browser on this machine."""
    address, port = listeners[0].getsockname()[:2]
    if _is_dual(listeners[0]) or _normal(host) == _LOCAL:
        address = _LOCAL
    elif address in {_ANY4, _ANY6}:
        address = "127.0.0.1" if address == _ANY4 else "::1"
    return f"http://{_joined(address, port)}"


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host and "[" not in host else f"{host}:{port}"


def _is_dual(listener: socket.socket) -> bool:
    if listener.family != socket.AF_INET6 or listener.getsockname()[0] != _ANY6:
        return False
    return not listener.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)


def _addresses_of(name: str, port: int) -> list[_Address]:
    if name == _LOCAL:  # many hosts files name only one of them
        return [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
    if name in {"*", _ANY6}:
        return [(socket.AF_INET6, _ANY6), (socket.AF_INET, _ANY4)]
    try:
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ListenError(
            f"HOST: {name[:60]!r} is no address of this machine: {reason}. "
            "Write it like 127.0.0.1, ::1, localhost, or :: for all addresses."
        ) from None
    return [(family, str(address[0])) for family, _, _, _, address in found]


def _without_needless(addresses: list[_Address]) -> list[_Address]:
    """Drop addresses that "all addresses" of their family include: binding both would fail."""
    for family, every in ((socket.AF_INET6, _ANY6), (socket.AF_INET, _ANY4)):
        if (family, every) in addresses:
            others = [each for each in addresses if each[0] != family]
            addresses = [(family, every), *others]
    return sorted(addresses, key=lambda address: address[1] != _ANY6)


def _listen(addresses: Sequence[_Address], port: int) -> list[socket.socket]:
    """Listen on all addresses; skip those that this machine lacks if another one works."""
    absent: list[OSError] = []
    with contextlib.ExitStack() as stack:
        found: list[socket.socket] = []
        for family, address in addresses:
            if family == socket.AF_INET and any(_is_dual(each) for each in found):
                continue  # the dual-stack socket has IPv4 already
            try:
                listener = _open(family, address, port)
            except OSError as error:
                if error.errno not in _ABSENT:
                    raise
                absent.append(error)
                if address == _ANY6:
                    log.warning("IPv6 is not available here: serving IPv4 alone")
                continue
            found.append(stack.enter_context(listener))
            port = listener.getsockname()[1]
        if not found:
            raise absent[0]
        stack.pop_all()
    return found


def _open(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    dual = address == _ANY6 and socket.has_dualstack_ipv6()
    listener = socket.create_server(
        (address, port), family=family, backlog=_BACKLOG, dualstack_ipv6=dual
    )
    # asyncio sets it only on its own sockets; without it responses are delayed by about 40 ms
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
