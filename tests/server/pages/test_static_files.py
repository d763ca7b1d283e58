"""Static files over real sockets: compressed once, and complete in every coding."""

import asyncio

import pytest

from server.http import compression
from server.pages import static_files
from server.pages.graphiql import GRAPHIQL_DIR, SCRIPTS, STYLES
from tests.server.raw_client import raw
from tests.serving import Reader


async def test_a_file_is_compressed_once(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    compressed: list[str] = []

    def counting(coding: str) -> None:
        compress = compression._COMPRESSORS[coding]  # noqa: SLF001 - to count its calls

        def counted(body: bytes) -> bytes:
            compressed.append(coding)
            return compress(body)

        monkeypatch.setitem(compression._COMPRESSORS, coding, counted)  # noqa: SLF001 - as above

    for coding in ("br", "gzip", "zstd"):
        counting(coding)
    static_files._load.cache_clear()  # noqa: SLF001 - what other tests asked for
    for coding in ("br", "gzip", "zstd"):
        for name in (*STYLES, *SCRIPTS):
            answers = await asyncio.gather(
                *(
                    reader.http.get(f"/graphiql/{name}{query}", headers={"Accept-Encoding": coding})
                    for query in ("", "?v=1", "?x=2", "")
                )
            )
            whole = (GRAPHIQL_DIR / name).read_bytes()
            assert all(answer.content == whole for answer in answers)
    most = len((*STYLES, *SCRIPTS))
    assert 3 <= len(compressed) <= 3 * most
    assert max(compressed.count(coding) for coding in ("br", "gzip", "zstd")) <= most


async def test_the_page_is_compressed_once(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    headers = {"Accept": "text/html", "Accept-Encoding": "br"}
    first = await reader.http.get("/graphql", headers=headers)
    monkeypatch.setitem(compression._COMPRESSORS, "br", None)  # noqa: SLF001 - calling it would fail
    again = await reader.http.get("/graphql", headers=headers)
    assert again.headers["content-encoding"] == "br"
    assert again.text == first.text


@pytest.mark.parametrize("coding", ["identity", "br", "gzip", "zstd"])
async def test_head_has_the_headers_of_get(reader: Reader, coding: str) -> None:
    for path in ("/graphiql/graphiql/graphiql.min.js", "/graphiql/favicon.svg", "/graphql"):
        headers = {"Accept-Encoding": coding, "Accept": "text/html, */*;q=0.1"}
        got = await reader.http.get(path, headers=headers)
        head = await reader.http.head(path, headers=headers)
        assert head.status_code == 200
        assert head.content == b""
        for name in ("content-length", "content-type", "etag", "cache-control"):
            assert head.headers[name] == got.headers[name]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_files_accept_only_get_and_head(reader: Reader, method: str) -> None:
    answer = await reader.http.request(method, "/graphiql/favicon.svg")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD"


async def test_no_websocket_is_a_file(reader: Reader) -> None:
    async with raw(reader.url) as client:
        client.send(
            b"GET /graphiql/favicon.svg HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\n"
            b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        assert (await client.answer()).status == 404
