"""`DATABASE_URL` in the spellings of libpq, and what it cannot be."""

import re
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.postgres.connection import database_url, hosts_of
from models.postgres.connector import Connector

HOSTS = {
    "postgresql://u:p@h/db": [("h", None)],
    "postgres://u:p@h:6432/db": [("h", 6432)],
    "postgresql+asyncpg://u@h/db": [("h", None)],
    "postgresql://u:p@h1:5432,h2:5433/db": [("h1", 5432), ("h2", 5433)],
    "postgresql://h1,h2:5433/db": [("h1", None), ("h2", 5433)],
    "postgresql://u:p@h1,h2,h3/db?port=6000": [("h1", 6000), ("h2", 6000), ("h3", 6000)],
    "postgresql://u@/db?host=h1,h2&port=1,2": [("h1", 1), ("h2", 2)],
    "postgresql://u@/db?host=h1:1&host=h2:2": [("h1", 1), ("h2", 2)],
    "postgresql://u@[::1]:6432/db": [("::1", 6432)],
    "postgresql://u@[::1]:1,[2001:db8::2]:2/db": [("::1", 1), ("2001:db8::2", 2)],
    "postgresql:///db?host=/run/postgresql": [("/run/postgresql", None)],
    "postgresql:///db?host=/a,/b&port=5433": [("/a", 5433), ("/b", 5433)],
    "postgresql://u@%2Frun%2Fpostgresql/db": [("/run/postgresql", None)],
    "postgresql:///db": [(None, None)],
    "postgresql://u@h1:5432,h2:5432/db?target_session_attrs=read-write": [
        ("h1", 5432),
        ("h2", 5432),
    ],
}
REFUSED = {
    "mysql://u:p@h/db": "expected a postgresql:// address, not mysql://",
    "postgresql:/h/db": "expected postgresql://user",
    "host=h dbname=db": "expected postgresql://user",
    "": "expected postgresql://user",
    "postgresql://u:p@h/db?foo=bar": "'foo' is not supported",
    "postgresql://u:p@h/db?schema=public": "'schema' is not supported",
    "postgresql://u:p@h/db?sslmode=no-verify": "sslmode must be one of",
    "postgresql://u:p@h/db?sslrootcert=system&sslmode=require": "needs sslmode=verify-full",
    "postgresql://u:p@h/db?channel_binding=require": "channel_binding can only be",
    "postgresql://u:p@h/db?target_session_attrs=master": "target_session_attrs must be one of",
    "postgresql://u:p@h/db?connect_timeout=soon": "connect_timeout must be",
    "postgresql://u:p@h/db?connect_timeout=²": "connect_timeout must be",
    "postgresql://u:p@h1:x,h2/db": "port",
    "postgresql://u:p@127.0.0.1:65536/db": "the port is not from 1 to 65535",
    "postgresql://u:p@127.0.0.1:0/db": "the port is not from 1 to 65535",
    "postgresql://u:p@h1:99999999999999999999,h2/db": "the port is not from 1 to 65535",
    "postgresql://u:p@/db?host=h1,h2&port=1,70000": "the port is not from 1 to 65535",
    "postgresql://u:p@/db?host=h&port=²": "the port is not a number",
    "postgresql://u:p@h1,h2,h3/db?port=1,2": "3 hosts, but 2 ports",
}


@pytest.mark.parametrize("text", HOSTS)
def test_hosts(text: str) -> None:
    url = database_url(text)
    assert hosts_of(url) == HOSTS[text]
    assert url.database == "db"
    assert hosts_of(database_url(url.render_as_string(hide_password=False))) == HOSTS[text]
    Connector(url)


@pytest.mark.parametrize("text", REFUSED)
def test_refused(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(REFUSED[text])) as refused:
        database_url(text)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "parameters",
    [
        "sslmode=require&channel_binding=prefer",
        "sslmode=disable&gssencmode=disable",
        "keepalives=1&keepalives_idle=30&tcp_user_timeout=1000",
        "application_name=prices&fallback_application_name=x",
        "connect_timeout=10&options=-csearch_path%3Dprices",
        "user=u&password=p&dbname=db",
        "client_encoding=utf8&sslsni=1",
    ],
)
def test_what_is_taken_as_it_is(parameters: str) -> None:
    Connector(database_url(f"postgresql://h/db?{parameters}"))


def test_parameters_name_what_is_missing() -> None:
    url = database_url("postgresql:///?host=h&user=me&password=p%40w&dbname=there")
    assert (url.username, url.password, url.database) == ("me", "p@w", "there")


@given(st.text(min_size=1), st.text(min_size=1))
def test_encoded_users_and_passwords(user: str, password: str) -> None:
    try:
        credentials = f"{quote(user, safe='')}:{quote(password, safe='')}"
    except UnicodeEncodeError:
        return
    for hosts in ("h", "h1:1,h2:2"):
        url = database_url(f"postgresql://{credentials}@{hosts}/db")
        assert (url.username, url.password) == (user, password)
