"""Access to reads and refreshes by token, and the log lines of rejected callers."""

from pathlib import Path
from typing import Any

import pytest
import structlog
from pydantic import SecretStr

from server.access.token_file import generated_token
from simulator import Simulator
from tests.serving import Client, Reader, live_server, make_settings

MUTATION = "mutation { refreshPrices { started } }"
QUERY = "{ currencies { code } }"
INTROSPECTION = "{ __schema { queryType { name } } }"


async def ask(server: Client, query: str, authorization: bytes | str | None = None) -> Any:
    """Send an operation with this header; return the response and its first error code."""
    headers = [] if authorization is None else [("Authorization", authorization)]
    raw = [
        (name.encode(), value.encode() if isinstance(value, str) else value)
        for name, value in headers
    ]
    response = await server.http.post("/graphql", json={"query": query}, headers=raw)
    errors = response.json().get("errors", [])
    return response, errors[0]["extensions"]["code"] if errors else None


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer wrong",
        "Bearer test-refresh-toke",
        "Bearer test-refresh-tokenx",
        "Bearer TEST-REFRESH-TOKEN",
        "Bearer test-refresh-token,other",
        "Bearer ,",
        "Basic dGVzdC1yZWZyZXNoLXRva2Vu",
        "test-refresh-token",
        "Bearertest-refresh-token",
        "Token test-refresh-token",
        "Bearer \xff".encode("latin-1"),
        "Bearer ünïcödé".encode(),
        "Bearer " + "x" * 10_000,
    ],
)
async def test_refreshing_requires_a_valid_token(
    reader: Reader, authorization: bytes | str | None
) -> None:
    with structlog.testing.capture_logs() as logs:
        response, code = await ask(reader, MUTATION, authorization)
    assert (response.status_code, code) == (401, "UNAUTHENTICATED")
    assert response.headers["www-authenticate"] == 'Bearer realm="coingraph"'
    assert "retry-after" not in response.headers
    (refusal,) = [line for line in logs if line["event"] == "refresh refused"]
    assert refusal["client"] == "127.0.0.1"
    assert refusal["reason"] in {"no token", "wrong token"}
    assert "test-refresh" not in str(logs)
    read, _ = await ask(reader, QUERY, authorization)
    assert read.status_code == 200, "reads are open, whatever the header says"


@pytest.mark.slow
async def test_each_of_several_tokens_is_valid(
    database_url: str, shared_simulator: Simulator
) -> None:
    tokens = "first, second ,tökén-ß,日本語,with space,a=b/c+d,à"
    settings = make_settings(database_url, shared_simulator, refresh_tokens=tokens)
    async with live_server(settings) as server:
        for token in tokens.split(","):
            for scheme in ("Bearer", "bearer", "BEARER "):
                response, _ = await ask(server, MUTATION, f"{scheme} {token.strip()}".encode())
                assert response.status_code == 200, response.text
        wrong, code = await ask(server, MUTATION, f"Bearer {tokens}".encode())
        assert (wrong.status_code, code) == (401, "UNAUTHENTICATED")


async def test_without_refresh_tokens_nobody_refreshes(
    database_url: str, shared_simulator: Simulator
) -> None:
    settings = make_settings(database_url, shared_simulator, refresh_tokens="")
    async with live_server(settings) as server:
        for authorization in (None, "Bearer", "Bearer x"):
            with structlog.testing.capture_logs() as logs:
                response, code = await ask(server, MUTATION, authorization)
            assert (response.status_code, code) == (503, "SERVICE_UNAVAILABLE")
            assert int(response.headers["retry-after"]) > 0
            assert "set REFRESH_TOKENS" in response.text
            assert [line["client"] for line in logs if line["event"] == "refresh refused"]
        assert (await ask(server, QUERY))[0].status_code == 200


async def test_read_tokens_close_all_reads(database_url: str, shared_simulator: Simulator) -> None:
    settings = make_settings(
        database_url, shared_simulator, read_tokens="reader-1,reader-2", refresh_tokens="writer"
    )
    async with live_server(settings) as server:
        for query in (QUERY, INTROSPECTION, "{ __typename }", MUTATION, "{ nonsense"):
            for authorization in (None, "Bearer wrong", "Basic reader-1"):
                with structlog.testing.capture_logs() as logs:
                    response, code = await ask(server, query, authorization)
                assert (response.status_code, code) == (401, "UNAUTHENTICATED")
                assert response.headers["www-authenticate"]
                (line,) = [line for line in logs if line["event"] == "read refused"]
                assert (line["client"], line["log_level"]) == ("127.0.0.1", "warning")
                assert "wrong" not in str(line).replace("wrong token", "")
        got = await server.http.get("/graphql", params={"query": QUERY})
        assert got.status_code == 401
        for token in ("reader-1", "reader-2", "writer"):
            for query in (QUERY, INTROSPECTION):
                assert (await ask(server, query, f"Bearer {token}"))[0].status_code == 200
        with structlog.testing.capture_logs() as logs:
            response, code = await ask(server, MUTATION, "Bearer reader-1")
        assert (response.status_code, code) == (403, "FORBIDDEN")
        assert "reader-1" not in str(logs)
        assert [line["reason"] for line in logs if line["event"] == "refresh refused"] == [
            "read token"
        ]
        assert (await ask(server, MUTATION, "Bearer writer"))[0].status_code == 200
        for path in ("/health/live", "/health/ready"):
            assert (await server.http.get(path)).status_code == 200


async def test_a_rejected_mutation_has_no_effect(reader: Reader) -> None:
    count = "{ refreshRuns { totalCount } }"
    before = await reader.data(count)
    for query in (MUTATION, "mutation { a: refreshPrices { started } b: __typename }"):
        response, code = await ask(reader, query, "Bearer wrong")
        assert (response.status_code, code) == (401, "UNAUTHENTICATED")
    assert await reader.data(count) == before


def test_a_token_is_generated_once_and_stored(tmp_path: Path) -> None:
    token, new = generated_token(tmp_path)
    assert new
    assert len(token.get_secret_value()) >= 32
    assert generated_token(tmp_path) == (token, False)
    (file,) = tmp_path.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text().strip() == token.get_secret_value()
    file.write_text("chosen by hand\n")
    assert generated_token(tmp_path) == (SecretStr("chosen by hand"), False)
    file.write_text("\n")  # as a full disk leaves it
    again, new = generated_token(tmp_path)
    assert new
    assert again not in {token, SecretStr("")}
