"""Parses `DATABASE_URL`: the forms of libpq that are supported, as one SQLAlchemy URL."""

import re
from collections.abc import Mapping
from urllib.parse import unquote, urlencode

from sqlalchemy import exc
from sqlalchemy.engine import URL, make_url

CONNECT_SECONDS = 5.0
_LAST_PORT = 65_535
_MOST_DIGITS = 9  # of a port, however wrong

# libpq's parameters, https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
# These have a meaning here:
_PLACES = {"host", "port", "user", "password", "dbname", "passfile"}
TLS_PARAMETERS = {
    "sslmode",
    "sslcert",
    "sslkey",
    "sslpassword",
    "sslrootcert",
    "sslcrl",
    "sslnegotiation",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
}
_SESSION = {"application_name", "connect_timeout", "options", "target_session_attrs"}
# Parameters without an effect for these values; None: for any value.
_NEUTRAL: Mapping[str, tuple[str, ...] | None] = {
    "channel_binding": ("disable", "prefer"),
    "client_encoding": ("auto", "utf8", "utf-8"),
    "fallback_application_name": None,
    "gssencmode": ("disable", "prefer"),
    "keepalives": None,  # on the client's side; each session sets those on the server's side
    "keepalives_count": None,
    "keepalives_idle": None,
    "keepalives_interval": None,
    "load_balance_hosts": ("disable",),
    "sslcompression": None,
    "sslsni": ("1",),
    "tcp_user_timeout": None,
}
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_ATTRIBUTES = ("any", "read-write", "read-only", "primary", "standby", "prefer-standby")
_FORM = "expected postgresql://user:password@host:port/database"
_SCHEMES = {"postgresql", "postgres", "postgresql+asyncpg"}
_PARTS = re.compile(
    r"(?P<scheme>[\w+.-]+)://(?:(?P<user>[^/?]*)@)?(?P<hosts>[^/?@]*)(?P<rest>[/?].*)?", re.DOTALL
)
_HOST = re.compile(r"(?P<host>\[[^\]]*\]|[^:]*)(?::(?P<port>\d*))?")


def database_url(text_url: str) -> URL:
    """Parse `postgresql://…` as libpq does. Raises ValueError with one sentence.

    Several hosts become `host` parameters of the form `host:port`; the other parts are where
    SQLAlchemy puts them.
    """
    try:
        url = make_url(_with_several_hosts(text_url))
    except exc.ArgumentError:
        raise ValueError(_FORM) from None
    if url.drivername not in _SCHEMES:
        raise ValueError(f"expected a postgresql:// address, not {url.drivername}://")
    query = {name: _last(name, value) for name, value in url.query.items()}
    if "ssl" in query:  # asyncpg's name of libpq's sslmode
        query.setdefault("sslmode", str(query.pop("ssl")))
        query.pop("ssl", None)
    _check(query)
    url = url.set(
        drivername="postgresql+asyncpg",
        username=url.username or str(query.get("user", "")) or None,
        password=url.password or str(query.get("password", "")) or None,
        database=url.database or str(query.get("dbname", "")) or None,
    )
    for name in _NEUTRAL.keys() | {"user", "password", "dbname"}:
        query.pop(name, None)
    if url.host and "%" in url.host:  # libpq's notation for a socket's folder as the host
        query["host"], url = (
            unquote(url.host),
            URL.create(url.drivername, url.username, url.password, None, url.port, url.database),
        )
    url = url.set(query=query)
    hosts_of(url)
    return url


def hosts_of(url: URL) -> list[tuple[str | None, int | None]]:
    """Return hosts and ports in order; None means libpq's default. Raises ValueError."""
    given, ports = url.query.get("host") or url.host, url.query.get("port") or url.port
    names = [given] if given is None or isinstance(given, str) else list(given)
    names = [part for name in names for part in (name.split(",") if name else [None])]
    numbers = str(ports).split(",") if ports is not None else [""]
    if len(numbers) not in {1, len(names)}:
        raise ValueError(f"{len(names)} hosts, but {len(numbers)} ports; give one, or one a host")
    if len(numbers) == 1:
        numbers *= len(names)
    return [_place(name, number) for name, number in zip(names, numbers, strict=True)]


def _place(name: str | None, number: str) -> tuple[str | None, int | None]:
    host = name
    if name is not None and not name.startswith("/") and not _is_ipv6(name):
        form = _HOST.fullmatch(name)
        if form is None or not form["host"]:
            raise ValueError("a host is not written as host:port")
        host, number = form["host"].strip("[]"), form["port"] or number
    if number and not (number.isdecimal() and number.isascii()):
        raise ValueError("the port is not a number")
    if number and not 1 <= int(number[:_MOST_DIGITS]) <= _LAST_PORT:
        raise ValueError(f"the port is not from 1 to {_LAST_PORT}")
    return host, int(number) if number else None


def _is_ipv6(name: str) -> bool:
    return name.count(":") > 1 and not name.startswith("[")


def _with_several_hosts(text_url: str) -> str:
    """Rewrite `//h1:1,h2:2/x` as `///x?host=h1:1&host=h2:2`, which SQLAlchemy can parse."""
    parts = _PARTS.fullmatch(text_url)
    if parts is None or "," not in parts["hosts"]:
        return text_url
    user = f"{parts['user']}@" if parts["user"] is not None else ""
    path, _, query = (parts["rest"] or "").partition("?")
    hosts = urlencode([("host", unquote(name)) for name in parts["hosts"].split(",")])
    return f"{parts['scheme']}://{user}{path or '/'}?{'&'.join(filter(None, (hosts, query)))}"


def _last(name: str, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
    """Return the last value of a repeated parameter, as libpq does; hosts stay a list."""
    return value if isinstance(value, str) or name == "host" else value[-1]


def _check(query: Mapping[str, str | tuple[str, ...]]) -> None:
    for name in sorted(query.keys() - _PLACES - TLS_PARAMETERS - _SESSION - _NEUTRAL.keys()):
        raise ValueError(f"the parameter {name!r} is not supported; leave it out")
    for name, values in _NEUTRAL.items():
        if values is not None and str(query.get(name, values[0])).lower() not in values:
            raise ValueError(f"{name} can only be {' or '.join(values)}; leave it out")
    mode, system = query.get("sslmode", "prefer"), query.get("sslrootcert") == "system"
    if mode not in _SSL_MODES:
        raise ValueError(f"sslmode must be one of {', '.join(_SSL_MODES)}")
    if system and query.get("sslmode", "verify-full") != "verify-full":
        raise ValueError("sslrootcert=system needs sslmode=verify-full")
    if query.get("target_session_attrs", "any") not in _ATTRIBUTES:
        raise ValueError(f"target_session_attrs must be one of {', '.join(_ATTRIBUTES)}")
    timeout = str(query.get("connect_timeout", "0")).strip()
    if not (timeout.isdecimal() and timeout.isascii()):
        raise ValueError("connect_timeout must be a whole number of seconds")
