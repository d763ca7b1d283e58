"""How a connection to PostgreSQL is made: where it leads, and what it is told."""

from typing import Any

from sqlalchemy import exc
from sqlalchemy.engine import URL, make_url

CONNECT_SECONDS = 5.0
# A machine that loses its power says no goodbye: without these, PostgreSQL would keep the locks
# of its connections for two hours.
_KEEPALIVES = {"tcp_keepalives_idle": "15", "tcp_keepalives_interval": "5"}

_PARAMETERS = {"host", "port", "ssl", "passfile", "target_session_attrs"}
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


def database_url(text_url: str) -> URL:
    """Read `postgresql://…` in the spellings people use. Raises ValueError with one sentence."""
    try:
        url = make_url(text_url)
    except exc.ArgumentError:
        raise ValueError("expected postgresql://user:password@host:port/database") from None
    if url.drivername not in {"postgresql", "postgres", "postgresql+asyncpg"}:
        raise ValueError(f"expected a postgresql:// address, not {url.drivername}://")
    query = dict(url.query)
    if "sslmode" in query:  # libpq's spelling of what asyncpg calls ssl
        query["ssl"] = query.pop("sslmode")
    for name in query.keys() - _PARAMETERS:
        raise ValueError(f"the parameter {name!r} is not supported; leave it out")
    if query.get("ssl", "prefer") not in _SSL_MODES:
        raise ValueError(f"sslmode must be one of {', '.join(_SSL_MODES)}")
    return url.set(drivername="postgresql+asyncpg", query=query)


def connect_args(application_name: str) -> dict[str, Any]:
    """What asyncpg is told of every connection, besides where it leads."""
    settings = {"application_name": application_name, "timezone": "UTC", **_KEEPALIVES}
    return {"timeout": CONNECT_SECONDS, "server_settings": settings}
