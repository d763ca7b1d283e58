"""Proxies and certificates of the environment: each value is accepted or gives one line."""

import contextlib
import http.server
import ipaddress
import os
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingestion.coingecko.client import CoinGecko
from ingestion.coingecko.errors import AccessRefused, UpstreamError
from ingestion.quota.throttle import Throttle
from server.config.outbound import outbound_for
from server.config.proxies import Proxy, ProxyError, bypassed, proxy_for, proxy_secrets
from simulator import Simulator
from tests.server.config.forwarders import forwarding

UPSTREAM = "https://api.coingecko.com/api/v3"
PLAIN = "http://upstream.test/api/v3"
NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*NAMES, *map(str.upper, NAMES), "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("entries", "host", "matches"),
    [
        ("localhost,fd00::/8", "api.coingecko.com", False),
        ("localhost,[::1]", "api.coingecko.com", False),
        ("127.0.0.1,localhost,fd07:b51a:cc66:f0::/64", "fd07:b51a:cc66:f0::7", True),
        ("fd07:b51a:cc66:f0::/64", "fd07:b51a:cc66:f1::7", False),
        ("fd00::/8", "fd12::1", True),
        ("fd00::1/8", "fd12::1", True),
        ("[fd00::]/8", "fd12::1", False),
        ("[::1]", "::1", True),
        ("[::1]:443", "::1", True),
        ("[::1]:80", "::1", False),
        ("::1", "::1", True),
        ("::ffff:10.0.0.1", "10.0.0.1", False),
        ("10.0.0.0/8", "10.200.3.4", True),
        ("10.0.0.0/8", "11.0.0.1", False),
        ("10.0.0.1/8", "10.9.9.9", True),
        ("10.0.0.0/99", "10.0.0.1", False),
        ("10.0.0.7", "10.0.0.7", True),
        ("10.0.0.7:443", "10.0.0.7", True),
        ("10.0.0.7:8443", "10.0.0.7", False),
        ("*", "anything.example", True),
        ("a, *", "anything.example", True),
        (" .example.com ", "api.example.com", True),
        (".example.com", "example.com", True),
        ("*.example.com", "api.example.com", True),
        ("example.com", "api.example.com", True),
        ("example.com", "badexample.com", False),
        ("EXAMPLE.com.", "api.Example.COM.", True),
        ("example.com:443", "example.com", True),
        ("example.com:80", "example.com", False),
        ("example.com:99999999999999999999", "example.com", False),
        ("a b\texample.com", "example.com", True),
        (",,  ,", "example.com", False),
        ("", "example.com", False),
        (".", "example.com", False),
        ("http://example.com", "example.com", False),
        ("[", "example.com", False),
        ("[]]", "example.com", False),
        ("example.com:", "example.com", False),
        ("%$§!\x00", "example.com", False),
        ("10.0.0.0/8/8", "10.0.0.1", False),
        ("fe80::1%eth0", "fe80::2", False),
    ],
)
def test_no_proxy_entries(entries: str, host: str, matches: bool) -> None:
    assert bypassed(host, 443, entries) is matches


@settings(deadline=None)
@given(st.text(max_size=80), st.sampled_from(["example.com", "10.0.0.1", "fd00::1", ""]))
def test_any_no_proxy_value_is_accepted(entries: str, host: str) -> None:
    assert bypassed(host, 443, entries) in {True, False}


@settings(deadline=None)
@given(st.ip_addresses(), st.integers(0, 32))
def test_networks_match_like_ipaddress(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, bits: int
) -> None:
    network = ipaddress.ip_network(f"{address}/{bits}", strict=False)
    for other in (network[0], network[-1], network.broadcast_address):
        assert bypassed(str(other), 443, f"x,{network}") or getattr(other, "ipv4_mapped", None)
    assert not bypassed("api.coingecko.com", 443, f"{network},{address}")


@pytest.mark.parametrize(
    ("variables", "url", "expected"),
    [
        ({"HTTPS_PROXY": "http://p.example:3128"}, UPSTREAM, Proxy("http://p.example:3128")),
        ({"https_proxy": "p.example:3128"}, UPSTREAM, Proxy("http://p.example:3128")),
        ({"HTTPS_PROXY": "p.example"}, UPSTREAM, Proxy("http://p.example:80")),
        ({"HTTPS_PROXY": " //p.example:1/ "}, UPSTREAM, Proxy("http://p.example:1")),
        ({"HTTPS_PROXY": "http://[fd00::1]:3128"}, UPSTREAM, Proxy("http://[fd00::1]:3128")),
        ({"HTTP_PROXY": "http://p.example"}, UPSTREAM, None),
        ({"HTTP_PROXY": "http://p.example"}, PLAIN, Proxy("http://p.example:80")),
        ({"ALL_PROXY": "socks5://p.example"}, UPSTREAM, Proxy("socks5://p.example:1080")),
        ({"all_proxy": "SOCKS5H://p.example:9"}, PLAIN, Proxy("socks5h://p.example:9")),
        ({"ALL_PROXY": "socks://127.0.0.1:1080/"}, UPSTREAM, Proxy("socks5://127.0.0.1:1080")),
        (
            {"ALL_PROXY": "socks4://p", "https_proxy": "https://q"},
            UPSTREAM,
            Proxy("https://q:443"),
        ),
        (
            {"HTTPS_PROXY": "http://upper", "https_proxy": "http://lower"},
            UPSTREAM,
            Proxy("http://lower:80"),
        ),
        ({"HTTPS_PROXY": "http://upper", "https_proxy": ""}, UPSTREAM, None),
        ({"HTTPS_PROXY": "  "}, UPSTREAM, None),
        (
            {"HTTPS_PROXY": "http://me:p%40ss@w:rd#/?@p.example:8080/path"},
            UPSTREAM,
            Proxy("http://p.example:8080", ("me", "p@ss@w:rd#/?")),
        ),
        ({"HTTPS_PROXY": "http://p", "NO_PROXY": ".coingecko.com"}, UPSTREAM, None),
        ({"HTTPS_PROXY": "http://p", "no_proxy": "fd00::/8, *"}, UPSTREAM, None),
        ({"ALL_PROXY": "garbage://"}, "http://localhost:8900/api/v3", None),
        ({"HTTP_PROXY": "http://p"}, "http://127.0.0.1:8900/api/v3", None),
        ({"HTTP_PROXY": "http://p"}, "http://127.1.2.3:8900/api/v3", None),
        ({"HTTP_PROXY": "http://p"}, "http://[::1]:8900/api/v3", None),
        ({"HTTP_PROXY": "http://p"}, "http://[::ffff:127.0.0.1]/", None),
        ({"HTTP_PROXY": "http://p"}, "http://10.0.0.1/", Proxy("http://p:80")),
    ],
)
def test_the_chosen_proxy(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], url: str, expected: Proxy | None
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert proxy_for(url) == expected


@pytest.mark.parametrize(
    "value",
    [
        "socks4://hunter2@p:1", "ftp://hunter2@p", "http://", "http://u:hunter2@", "://hunter2",
        "http://u:hunter2@p:port", "http://u:hunter2@p:0", "http://u:hunter2@p:70000", "http://[::1",
        "http://[hunter2]:1", "http://u:hunter2@a b", "http://u:hunter2@h:1:2", "javascript:x()",
        "http://p\\hunter2", "\udc80\udcff://x",
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
async def test_an_invalid_proxy_is_one_line(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ProxyError) as caught:
        proxy_for(UPSTREAM)
    line = str(caught.value)
    assert line.startswith(f"{name}: ")
    assert "hunter2" not in line
    assert "\n" not in line
    client = CoinGecko(throttle=Throttle(600_000), outbound=outbound_for(UPSTREAM))
    async with client:
        assert client.fault == line
        with pytest.raises(AccessRefused, match=f"^CoinGecko cannot be reached: {name}: names "):
            await client.ping()


@settings(deadline=None)  # the machine's pace is no fault
@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=60))
def test_no_value_ends_in_a_traceback(value: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name in NAMES:
            patch.setenv(name, value)
        assert isinstance(outbound_for(PLAIN).fault, str | None)
        proxy_secrets()


def test_passwords_of_proxies_are_redacted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://u:s%40cret@p")
    monkeypatch.setenv("all_proxy", "u:other@p:1")
    assert proxy_secrets() == {
        "s%40cret",
        "s@cret",
        "u:s%40cret",
        "u:s@cret",
        "other",
        "u:other",
    }


@pytest.fixture
def target(shared_simulator: Simulator) -> tuple[str, int]:
    host, _, port = shared_simulator.base_url.split("/")[2].partition(":")
    return host, int(port)


@pytest.mark.parametrize("login", [None, "me:p@ss w:rd"])
@pytest.mark.parametrize("kind", ["http", "socks5"])
async def test_prices_come_through_a_real_proxy(
    monkeypatch: pytest.MonkeyPatch, target: tuple[str, int], kind: str, login: str | None
) -> None:
    with forwarding(kind, target, login) as proxy:
        monkeypatch.setenv(
            "ALL_PROXY" if kind == "socks5" else "http_proxy",
            f"{kind}://{login + '@' if login else ''}127.0.0.1:{proxy.port}",
        )
        client = CoinGecko(throttle=Throttle(600_000), base_url=PLAIN, outbound=outbound_for(PLAIN))
        async with client:
            assert "Moon" in await client.ping()
        assert "upstream.test" in proxy.asked[0]


async def test_a_wrong_login_is_not_revealed(
    monkeypatch: pytest.MonkeyPatch, target: tuple[str, int]
) -> None:
    with forwarding("http", target, "me:right") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:s3cret-pw@127.0.0.1:{proxy.port}")
        client = CoinGecko(throttle=Throttle(600_000), attempts=1, outbound=outbound_for(UPSTREAM))
        async with client:
            with pytest.raises(UpstreamError, match="the proxy refuses") as caught:
                await client.ping()
        assert "s3cret" not in f"{caught.value} {caught.value.said}"
        assert proxy.asked == ["api.coingecko.com:443"]


@pytest.fixture
def places(tmp_path: Path) -> dict[str, str]:
    for name, content in (("empty", b""), ("text", b"no certificate"), ("zeros", bytes(1000))):
        (tmp_path / name).write_bytes(content)
    return {name: str(tmp_path / name) for name in ("empty", "text", "zeros", "missing", ".")}


@pytest.mark.parametrize("place", ["empty", "text", "zeros", "missing", "."])
async def test_certificates_that_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, places: dict[str, str], place: str
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", places[place])
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nonexistent")
    fault = outbound_for(UPSTREAM).fault
    assert fault is not None
    assert fault.startswith("SSL_CERT_FILE: '")
    assert places[place] in fault
    assert "\n" not in fault
    assert outbound_for(PLAIN).fault is None, "no certificate is asked for"


def test_folders_of_certificates(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SSL_CERT_DIR", "/nonexistent")
    assert str(outbound_for(UPSTREAM).fault).startswith("SSL_CERT_DIR: '/nonexistent' ")
    monkeypatch.setenv("SSL_CERT_DIR", os.pathsep.join(("/nonexistent", str(tmp_path))))
    assert outbound_for(UPSTREAM).fault is None
    monkeypatch.setenv("SSL_CERT_FILE", "")
    monkeypatch.setenv("SSL_CERT_DIR", "")
    assert outbound_for(UPSTREAM).fault is None


@contextlib.contextmanager
def tls_upstream(folder: Path) -> Iterator[int]:
    """Serve pings with the `cert` and `key` in a folder; yield the port."""

    class Ping(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"gecko_says": "(V3) To the Moon!"}')

        def log_message(self, *_: Any) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Ping) as server:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(folder / "cert", folder / "key")
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a `cert` for localhost and upstream.test, and its `key`."""
    folder = tmp_path_factory.mktemp("certificate")
    openssl = shutil.which("openssl")
    if openssl is None:
        assert not os.environ.get("CI"), "CI must have openssl"
        pytest.skip("openssl is not installed")
    names = "subjectAltName=DNS:localhost,DNS:upstream.test"
    command = (
        f"{openssl} req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=upstream.test "
        f"-addext {names} -keyout {folder}/key -out {folder}/cert"
    )
    subprocess.run(command.split(), check=True, capture_output=True)
    return folder


@pytest.mark.parametrize("by_proxy", [False, True])
async def test_certificates_of_a_file_are_trusted(
    monkeypatch: pytest.MonkeyPatch, certificate: Path, by_proxy: bool
) -> None:
    """An upstream with a certificate that only SSL_CERT_FILE has, also through CONNECT."""
    with tls_upstream(certificate) as port, forwarding("http", ("127.0.0.1", port)) as proxy:
        url = f"https://localhost:{port}/api/v3"
        if by_proxy:
            monkeypatch.setenv("HTTPS_PROXY", f"127.0.0.1:{proxy.port}")
            url = "https://upstream.test/api/v3"
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert"))
        client = CoinGecko(
            throttle=Throttle(600_000), attempts=1, base_url=url, outbound=outbound_for(url)
        )
        async with client:
            assert await client.ping() == "(V3) To the Moon!"
        assert proxy.asked == (["upstream.test:443"] if by_proxy else [])
