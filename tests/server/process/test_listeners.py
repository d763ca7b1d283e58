"""HOST: the listening addresses, and the URL for a browser."""

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.process.listeners import ListenError, open_listeners, url_of
from tests.server.server_process import served

ROOT = Path(__file__).resolve().parents[3]


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this machine")


@contextmanager
def listening(host: str, port: int = 0) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        yield [stack.enter_context(each) for each in open_listeners(host, port)]


def reachable(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=60):
            return True
    except OSError:
        return False


@needs_ipv6
@pytest.mark.parametrize(
    ("host", "addresses", "url"),
    [
        ("127.0.0.1", ["127.0.0.1"], "127.0.0.1"),
        ("0.0.0.0", ["127.0.0.1"], "127.0.0.1"),  # noqa: S104 - what is tested
        ("::1", ["::1"], "[::1]"),
        ("[::1]", ["::1"], "[::1]"),
        ("::", ["127.0.0.1", "::1"], "localhost"),
        ("[::]", ["127.0.0.1", "::1"], "localhost"),
        ("*", ["127.0.0.1", "::1"], "localhost"),
        ("localhost", ["127.0.0.1", "::1"], "localhost"),
        ("LocalHost", ["127.0.0.1", "::1"], "localhost"),
        ("::ffff:127.0.0.1", ["127.0.0.1"], "127.0.0.1"),
        ("127.0.0.1,::1", ["127.0.0.1", "::1"], "127.0.0.1"),
        ("127.0.0.1, 127.0.0.2", ["127.0.0.1", "127.0.0.2"], "127.0.0.1"),
        ("0.0.0.0,::", ["127.0.0.1", "::1"], "localhost"),
        ("::1,127.0.0.1,::,0.0.0.0", ["127.0.0.1", "::1"], "localhost"),
        ("::1,0.0.0.0,127.0.0.1", ["127.0.0.1", "::1"], "127.0.0.1"),
        ("::1,::1", ["::1"], "[::1]"),
    ],
)
def test_the_addresses_of_a_host(host: str, addresses: list[str], url: str) -> None:
    with listening(host) as listeners:
        port = listeners[0].getsockname()[1]
        assert {each.getsockname()[1] for each in listeners} == {port}
        tried = ["127.0.0.1", "127.0.0.2", "::1"]
        everywhere = any(part in {"0.0.0.0", "::", "[::]", "*"} for part in host.split(","))  # noqa: S104 - names
        others = {"127.0.0.2"} if everywhere else set()
        found = [address for address in tried if reachable(address, port)]
        assert set(addresses) <= set(found) <= {*addresses, *others}
        assert url_of(host, listeners) == f"http://{url}:{port}"


def without(monkeypatch: pytest.MonkeyPatch, code: int, *families: socket.AddressFamily) -> None:
    """Simulate a machine without these address families."""
    create = socket.create_server

    def refuse(address: Any, **more: Any) -> socket.socket:
        if more["family"] in families:
            raise OSError(code, os.strerror(code))
        return create(address, **more)

    monkeypatch.setattr(socket, "create_server", refuse)


@pytest.mark.parametrize("code", [errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL])
@pytest.mark.parametrize("host", ["::", "*", "localhost", "127.0.0.1,::1"])
def test_a_machine_without_ipv6_serves_ipv4(
    monkeypatch: pytest.MonkeyPatch, host: str, code: int
) -> None:
    without(monkeypatch, code, socket.AF_INET6)
    with listening(host) as listeners:
        [listener] = listeners
        assert reachable("127.0.0.1", listener.getsockname()[1])
    with pytest.raises(ListenError, match=r"^\[::1\]:0 cannot be listened on: ") as caught:
        open_listeners("::1", 0)
    assert "\n" not in str(caught.value)


@needs_ipv6
def test_a_system_without_dual_stack_sockets_has_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    with listening("::") as listeners:
        port = listeners[0].getsockname()[1]
        assert [len(listeners), reachable("127.0.0.1", port), reachable("::1", port)] == [
            *(2, True, True)
        ]


@pytest.mark.parametrize(
    "host", ["no.such.host.invalid", "300.1.1.1", "a b", "http://x", "x" * 300, " ", ",", "[]"]
)
def test_an_invalid_address_is_one_line(host: str) -> None:
    with pytest.raises(ListenError) as caught:
        open_listeners(host, 0)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::", "0.0.0.0"])  # noqa: S104 - what is tested
def test_a_port_that_is_taken_is_one_line_and_leaves_nothing_open(host: str) -> None:
    with listening("127.0.0.1") as [taken]:
        port = taken.getsockname()[1]
        with pytest.raises(ListenError, match=r"cannot be listened on: .*--port"):
            open_listeners(host, port)
    with listening(host, port):
        pass


@pytest.mark.endurance
@needs_ipv6
@pytest.mark.processes
def test_a_server_on_all_addresses_shows_ipv4_callers_as_ipv4(tmp_path: Path) -> None:
    """In its workers, log, limits and health check."""
    settings = {"HOST": "::", "WORKERS": "2", "TRUSTED_PROXIES": "127.0.0.1", "ROOT_PATH": "/x"}
    with served(tmp_path, **settings) as server:
        server.await_workers(2)
        port = int(server.url.rsplit(":", 1)[1])
        sent = {"X-Forwarded-For": "203.0.113.9"}
        for address, headers, client in (
            ("127.0.0.1", {}, "127.0.0.1"),
            ("[::1]", {}, "::1"),
            ("127.0.0.1", sent, "203.0.113.9"),
            ("[::1]", sent, "::1"),
        ):
            mark = f"{client}-{len(headers)}".replace(":", ".")
            url = f"http://{address}:{port}/health/live"
            httpx.get(url, headers={"X-Request-ID": mark, **headers}).raise_for_status()
            line = server.await_request(mark)
            assert line["client"] == client
        httpx.get(f"{server.url}/graphql", params={"query": "{ __typename }"}).raise_for_status()
        for host in ("::", "*", "localhost", "127.0.0.1", "::1", "[::1]", "192.0.2.1,::1"):
            assert server.healthcheck(HOST=host, PORT=str(port)) == 0, host
            for quote in "'\"":  # which `docker run --env-file` keeps, and the server takes away
                quoted = {"HOST": f"{quote}{host}{quote}", "PORT": f"{quote}{port}{quote}"}
                assert server.healthcheck(**quoted) == 0, quoted
        assert server.healthcheck(HOST="::1", PORT="1") == 1
