"""No response redirects to another host, whatever hosts and paths the request names."""

import itertools

import pytest

from tests.server.raw_client import raw
from tests.serving import Reader

PATHS = [
    *("/", "//", "/graphql", "/graphql/", "/graphql//", "//graphql", "/graphql/?query=%7Ba%7D"),
    *("/graphiql", "/graphiql/", "/graphiql/graphiql", "/graphiql//", "/graphiql/examples"),
    *("/graphiql/favicon.svg/", "/health", "/health/", "/health/live/", "/health/ready/"),
    *("//evil.example", "//evil.example/", "//evil.example/graphql/", "//evil.example/%2e%2e"),
    *(
        "/\\evil.example",
        "/%5cevil.example/",
        "/%2f%2fevil.example/",
        "/graphiql/%2f%2fevil.example",
    ),
    *("/graphql/../", "/graphql/%0d%0aLocation:%20https://evil.example/", "http://evil.example/"),
    *("http://evil.example/graphql/", "http://evil.example//graphiql"),
]
HOSTS = ["evil.example", "evil.example:1", "evil.example/", "@evil.example", "127.0.0.1"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize("accept", ["*/*", "text/html"])
async def test_no_redirect_contains_the_host(reader: Reader, method: str, accept: str) -> None:
    more = "X-Forwarded-Host: evil.example\r\nX-Forwarded-Prefix: //evil.example\r\n"
    more += f"Forwarded: host=evil.example\r\nAccept: {accept}\r\nConnection: close\r\n"
    found = set()
    for path, host in itertools.product(PATHS, HOSTS):
        async with raw(reader.url) as client:
            client.send(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n".encode())
            answer = await client.reader.read()
        head = answer.partition(b"\r\n\r\n")[0].decode().lower()
        assert "evil" not in head, (path, host)
        found |= {line for line in head.split("\r\n") if line.startswith("location:")}
    assert found <= {"location: graphql"}
