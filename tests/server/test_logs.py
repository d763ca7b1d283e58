"""JSON logs, and errors that are masked for callers and logged in full."""

import contextlib
import io
import json
import logging
import re
from collections.abc import Callable
from typing import Any

import pytest
import structlog

from models import coins as coin_rows
from resolvers import coins as coin_answers
from server.logs import set_up_logs
from simulator import Simulator
from tests.server.raw_client import WHOLE, raw
from tests.serving import TOKEN, LiveServer, live_server, make_settings

UPGRADE = b"GET /graphql HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket"
Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines(stream: io.StringIO) -> Lines:
    """Log as JSON; return a function that gives the lines since its last call."""
    with contextlib.redirect_stderr(stream):
        set_up_logs("json", "info")
    read = 0

    def more() -> list[dict[str, Any]]:
        nonlocal read
        text = stream.getvalue()[read:]
        read += len(text)
        return [json.loads(line) for line in text.splitlines()]

    return more


@pytest.fixture
async def logged(lines: Lines, server: LiveServer) -> LiveServer:
    await server.application.refresher.interrupt()  # what the first refresh says last comes before
    assert lines(), "starting is logged"
    return server


async def test_each_line_is_json_with_its_request_id(logged: LiveServer, lines: Lines) -> None:
    wrong = "mutation { refreshPrices { started } }"
    headers = {"X-Request-ID": "cron-2026:01/31+x=1.y_z"}
    response = await logged.http.post("/graphql", json={"query": wrong}, headers=headers)
    assert response.headers["x-request-id"] == headers["X-Request-ID"]
    refusal, request = lines()
    for line in (refusal, request):
        assert line["request_id"] == headers["X-Request-ID"]
        assert line["level"] in {"info", "warning"}
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", line["timestamp"])
        assert line["logger"].startswith("coingraph.")
    assert (refusal["event"], refusal["client"]) == ("refresh refused", "127.0.0.1")
    assert (request["event"], request["status"]) == ("request", 401)
    assert (request["method"], request["path"]) == ("POST", "/graphql")
    assert request["ms"] > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"no http", 400),
        (b"GET /health/live HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 40_000, 431),
        (WHOLE.partition(b"\r\n\r\n")[0].replace(b"json", b"xml"), 415),
        (UPGRADE.replace(b"websocket", b"h2c"), 400),
        (UPGRADE, 400),
        (UPGRADE + b"\r\nX: x" * 200, 431),
    ],
)
async def test_a_malformed_request_is_logged_once(
    logged: LiveServer, lines: Lines, sent: bytes, status: int
) -> None:
    async with raw(logged.url) as client:
        client.send(sent + b"\r\n\r\n")
        assert (await client.answer()).status == status
    (line,) = lines()
    assert (line["event"], line["status"], line["client"]) == ("request", status, "127.0.0.1")


async def test_a_run_is_found_by_the_request_that_started_it(
    logged: LiveServer, lines: Lines
) -> None:
    headers = {"X-Request-ID": "scheduler-7", "Authorization": f"Bearer {TOKEN}"}
    query = "mutation { refreshPrices(input: {wait: true}) { run { id } } }"
    answer = await logged.http.post("/graphql", json={"query": query}, headers=headers)
    found = lines()
    run_id = answer.json()["data"]["refreshPrices"]["run"]["id"]
    of_run = [line for line in found if line.get("run") == run_id]
    assert {"refresh started", "refresh ended"} <= {line["event"] for line in of_run}
    assert {line["request_id"] for line in found} == {"scheduler-7"}


async def test_invalid_request_ids_are_replaced(logged: LiveServer, lines: Lines) -> None:
    seen = set()
    for given in (None, "", "two words", "x" * 129, '{"a":1}', "a\tb", "ü".encode()):
        headers = {} if given is None else {"X-Request-ID": given}
        response = await logged.http.get("/health/live", headers=headers)  # type: ignore[arg-type] # raw header pairs
        request_id = response.headers["x-request-id"]
        assert re.fullmatch("[0-9a-f]{32}", request_id)
        seen.add(request_id)
        assert [(line["event"], line["request_id"]) for line in lines()] == [
            ("request", request_id)
        ]
    assert len(seen) == 7


async def test_an_unexpected_error_is_masked_and_logged_once(
    logged: LiveServer, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("password=hunter2")

    monkeypatch.setattr(coin_answers, "currencies", fail)
    headers = {"X-Request-ID": "find-me"}
    query = '{ currencies { code } coin(id: "bitcoin") { id } }'
    response = await logged.http.post("/graphql", json={"query": query}, headers=headers)
    assert response.status_code == 500
    assert response.headers["x-request-id"] == "find-me"
    body = response.json()
    assert body["data"] is None
    (error,) = body["errors"]
    assert error["extensions"] == {"code": "INTERNAL_SERVER_ERROR", "requestId": "find-me"}
    assert "find-me" in error["message"]
    assert "hunter2" not in response.text
    assert "RuntimeError" not in response.text
    failures = [line for line in lines() if line["level"] == "error"]
    assert [line["request_id"] for line in failures] == ["find-me"]
    assert "RuntimeError: password=hunter2" in failures[0]["exception"]
    assert "Traceback" in failures[0]["exception"]


async def test_an_error_of_many_fields_is_logged_once(
    logged: LiveServer, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise ValueError("no such luck")

    monkeypatch.setattr(coin_rows, "metadata_by_coin", fail)
    response = await logged.post("{ coins { nodes { id metadata { imageUrl } } } }")
    body = response.json()
    assert response.status_code == 200
    assert [node["metadata"] for node in body["data"]["coins"]["nodes"]] == [None, None]
    assert [error["path"][2] for error in body["errors"]] == [0, 1]
    assert len({error["extensions"]["requestId"] for error in body["errors"]}) == 1
    assert len([line for line in lines() if line["level"] == "error"]) == 1


async def test_an_error_outside_of_any_field(
    logged: LiveServer, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.graphql.admission.Context", None)
    response = await logged.http.post(
        "/graphql", json={"query": "{ __typename }"}, headers={"X-Request-ID": "find-me-too"}
    )
    assert response.status_code == 500
    assert response.json()["errors"][0]["extensions"] == {
        "code": "INTERNAL_SERVER_ERROR",
        "requestId": "find-me-too",
    }
    assert "NoneType" not in response.text
    failures = [line for line in lines() if line["level"] == "error"]
    assert [line["request_id"] for line in failures] == ["find-me-too"]


async def test_starting_and_stopping_is_json_too(
    lines: Lines, database_url: str, shared_simulator: Simulator
) -> None:
    async with live_server(make_settings(database_url, shared_simulator)):
        pass
    events = [line["event"] for line in lines()]
    assert any("starting a refresh" in event for event in events)
    assert all(isinstance(event, str) for event in events)


def test_redundant_lines_of_libraries_are_dropped(lines: Lines) -> None:
    """stamina logs each retry through structlog; the throttle has logged the reason."""
    for name in ("stamina", "httpx"):
        for log in (structlog.get_logger(name), logging.getLogger(name)):
            log.info("not shown")
            log.error("shown")
    structlog.get_logger("stamina").warning("not shown")
    assert [(line["logger"], line["event"]) for line in lines()] == [
        ("stamina", "shown"), ("stamina", "shown"), ("httpx", "shown"), ("httpx", "shown"),
    ]  # fmt: skip


@pytest.mark.parametrize(("lowest", "shown"), [
    ("debug", {"INFO", "WARNING", "ERROR"}), ("info", {"INFO", "WARNING", "ERROR"}),
    ("warning", {"WARNING", "ERROR"}), ("error", {"ERROR"}),
])  # fmt: skip
@pytest.mark.parametrize("name", ["uvicorn.error", "websockets"])
def test_libraries_follow_the_log_level(
    stream: io.StringIO, lowest: str, shown: set[str], name: str
) -> None:
    with contextlib.redirect_stderr(stream):
        set_up_logs("json", lowest)
    for level in ("DEBUG", "INFO", "WARNING", "ERROR"):
        logging.getLogger(name).log(logging.getLevelNamesMapping()[level], level)
    assert {json.loads(line)["event"] for line in stream.getvalue().splitlines()} == shown


def test_the_console_format(stream: io.StringIO) -> None:
    with contextlib.redirect_stderr(stream):
        set_up_logs("console", "warning")
    log = structlog.get_logger("coingraph.test")
    log.info("not shown")
    log.warning("shown", client="127.0.0.1")
    logging.getLogger("other").warning("shown %s", "too")
    log.error("failed", exc_info=RuntimeError("as it happens"))
    text = stream.getvalue()
    assert "not shown" not in text
    assert "client=127.0.0.1" in text
    assert "shown too" in text
    assert "RuntimeError: as it happens" in text
    assert "\x1b[" not in text, "no colours where there is no terminal"


def test_control_characters_are_escaped_on_a_terminal(stream: io.StringIO) -> None:
    with contextlib.redirect_stderr(stream):
        set_up_logs("console", "info")
    log = structlog.get_logger("coingraph.test")
    for path in ("/a\x1b[2Jb", "/a\u009b2Jb", "/a\u202eb", "/a\u2028b", "/a\x00b", "/a\r\nb"):
        log.info("request", path=path)
    logging.getLogger("other").warning("shown \x1b[2J")
    log.error("failed", exc_info=RuntimeError("as it happens"))
    *others, error = stream.getvalue().rstrip("\n").split("\n", 7)
    assert all(line.isprintable() for line in others)
    assert r"path=/a\x1b[2Jb" in others[0]
    assert "\nRuntimeError: as it happens" in error, "a traceback keeps its lines"


@pytest.mark.parametrize(
    "path",
    [
        "a" * 31_000,
        "%00" * 200 + "a" * 20_000,
        "%F0%9F%98%80" * 50 + "a" * 20_000,
        "%F3%A0%80%81" * 50 + "a" * 20_000,
        "graphql/" * 3_000,
    ],
)
async def test_a_long_path_makes_a_short_line(logged: LiveServer, lines: Lines, path: str) -> None:
    async with raw(logged.url) as client:
        client.send(f"GET /{path} HTTP/1.1\r\nX-Request-ID: {'x' * 128}\r\n\r\n".encode())
        assert (await client.answer()).status == 404
    (line,) = lines()
    assert len(json.dumps(line, ensure_ascii=False)) < 2_000
    assert "characters)" in line["path"]


async def test_forwarded_client_addresses_are_bounded(
    lines: Lines, database_url: str, shared_simulator: Simulator
) -> None:
    settings = make_settings(database_url, shared_simulator, trusted_proxies="127.0.0.1")
    async with live_server(settings) as server:
        for client in ("x" * 30_000, "2001:db8::1%" + "e" * 30_000, "a, " * 100 + "b" * 20_000):
            lines()
            asked = {"query": "mutation { refreshPrices { started } }"}
            named = {"X-Forwarded-For": client}
            assert (
                await server.http.post("/graphql", json=asked, headers=named)
            ).status_code == 401
            found = [line for line in lines() if "client" in line]
            assert len(found) == 2
            assert all(len(json.dumps(line)) < 1_000 for line in found)


async def test_an_alias_is_bounded_in_the_line_of_its_error(
    logged: LiveServer, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr(coin_answers, "currencies", fail)
    response = await logged.post("{ %s: currencies { code } }" % ("a" * 9_000))
    assert response.status_code == 500
    (line,) = [line for line in lines() if line["level"] == "error"]
    assert line["path"] == ["a" * 60]
