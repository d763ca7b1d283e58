"""Structured logs on standard error: for people on a console, as JSON by setting."""

import contextlib
import json
import logging
import logging.config
import os
import re
import sys
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote

import orjson
import structlog
from asgi_correlation_id import correlation_id
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.http.log_values import shortened

# The throttle says itself when it slows down; stamina would repeat it for each call.
_QUIET = {
    "httpx": "WARNING",
    "httpcore": "WARNING",
    "alembic": "WARNING",
    "models.postgres.pool": "WARNING",  # SQLAlchemy logs by the module of the pool's class
    "stamina": "ERROR",
    "asyncio": "WARNING",
    "asgi_correlation_id": "ERROR",  # it warns of each X-Request-ID that we do not take over
    "uvicorn.error": "INFO",  # below, it tells the headers of WebSockets, with their tokens
    "uvicorn.http": "ERROR",  # it warns of each malformed request, which has its line from us
    "uvicorn.websockets": "WARNING",
    "websockets": "INFO",  # same
}

_OF_SEVERAL_LINES = {"exception", "stack"}
_SHORTEST_SECRET = 6  # characters: a shorter one is a word of every line
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:=+/-]{1,128}")

log = structlog.get_logger("coingraph.http")


def set_up_logs(log_format: str, lowest: str, secrets: Iterable[str] = ()) -> None:
    """Render structlog's and the standard library's records alike, without the `secrets`.

    Ours do not pass through the standard library, which would cost three times as much. Nothing
    fails because a line cannot be written.
    """
    if sys.stderr is None:  # closed by whoever started us
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - stays open for good
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        _add_request_id,
        structlog.processors.add_log_level,
        structlog.stdlib.add_logger_name,
        _leave_out_quiet,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    rendering: list[structlog.typing.Processor] = (
        [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=_json),
        ]
        if log_format == "json"
        else [_printable, _console()]
    )
    _hidden.forget()
    _hidden.add(secrets)
    rendering.append(_hidden)
    _set_up_standard_library(shared, rendering, lowest.upper())
    structlog.configure(
        processors=[*shared, *rendering],
        logger_factory=partial(_NamedLogger, sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(lowest),
        cache_logger_on_first_use=True,
    )


class _NamedLogger(structlog.WriteLogger):
    """A logger that `add_logger_name` can ask for its name."""

    def __init__(self, file: TextIO, name: str = "") -> None:
        super().__init__(file)
        self.name = name

    def msg(self, message: str) -> None:
        """Write a line, or lose it: its reader has gone, the disk is full, the file is closed."""
        with contextlib.suppress(OSError, ValueError):
            super().msg(message)

    log = debug = info = warn = warning = msg
    fatal = failure = err = error = critical = exception = msg


def _set_up_standard_library(
    shared: list[structlog.typing.Processor],
    rendering: list[structlog.typing.Processor],
    lowest: str,
) -> None:
    """Send the records of libraries through the same rendering."""
    logging.raiseExceptions = False  # else it writes of a failure to the file that failed
    formatter = {
        "()": structlog.stdlib.ProcessorFormatter,
        "foreign_pre_chain": shared,
        "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
    }
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"structured": formatter},
            "filters": {"no_addresses": {"()": lambda: _tells_no_address}},
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "structured"}},
            "root": {"handlers": ["stderr"], "level": lowest},
            "loggers": {
                name: {"level": level, "filters": ["no_addresses"]}
                for name, level in _QUIET.items()
            },
        }
    )


def _tells_no_address(record: logging.LogRecord) -> bool:
    """Drop uvicorn's line on each WebSocket: it has the query string, in which a token may be."""
    return '"WebSocket ' not in str(record.msg)


class _Hidden:
    """Replaces secrets in a line, from any source: a library, a server that echoes."""

    def __init__(self) -> None:
        self._forms = set[str]()
        self._pattern: re.Pattern[str] | None = None

    def forget(self) -> None:
        self._forms.clear()
        self._pattern = None

    def add(self, secrets: Iterable[str]) -> None:
        """Hide these from now on, in the forms in which they may be written."""
        forms = {
            form
            for secret in secrets
            if len(secret) >= _SHORTEST_SECRET
            for form in (
                secret,
                quote(secret, safe="", errors="surrogateescape"),
                json.dumps(secret)[1:-1],
                repr(secret)[1:-1],
            )
        }
        if not forms <= self._forms:
            self._forms |= forms
            longest_first = sorted(self._forms, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def __call__(self, _logger: object, _method: str, line: Any) -> Any:  # noqa: ANN401 - what structlog hands on
        return line if self._pattern is None else self._pattern.sub("[hidden]", line)


_hidden = _Hidden()


def hide_in_logs(*secrets: str) -> None:
    """Hide secrets that became known after `set_up_logs`."""
    _hidden.add(secrets)


def _json(event: structlog.typing.EventDict, **more: Any) -> str:  # noqa: ANN401 - what structlog hands on
    return orjson.dumps(event, **more).decode()


def _printable(
    _logger: object, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Write out what a terminal would obey: a path is what its caller likes it to be."""
    for name, value in event.items():
        if isinstance(value, str) and name not in _OF_SEVERAL_LINES and not value.isprintable():
            event[name] = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in value)
    return event


def _console() -> structlog.dev.ConsoleRenderer:
    return structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )


def _leave_out_quiet(
    _logger: object, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Drop what a library logs through structlog below its level: no logging.Logger filters it."""
    least = _QUIET.get(event["logger"])
    levels = logging.getLevelNamesMapping()
    if least and levels[event["level"].upper()] < levels[least]:
        raise structlog.DropEvent
    return event


def _add_request_id(
    _logger: object, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    if request_id := correlation_id.get():
        event["request_id"] = request_id
    return event


def is_request_id(text: str) -> bool:
    """Whether a caller's X-Request-ID may be taken over into answers and logs."""
    return _REQUEST_ID.fullmatch(text) is not None


class RequestLog:
    """One line a request, once it is answered."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 0

        async def remember(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, remember)
        finally:
            log.info(
                "request",
                method=scope["method"],
                path=shortened(scope["path"]),
                status=status or None,
                ms=round((time.perf_counter() - started) * 1000, 1),
                client=scope["client"][0] if scope.get("client") else None,
            )


def log_refusal(status: int, client: str | None) -> None:
    """Write the line of what never became a request, be it no HTTP or no handshake."""
    log.info("request", method=None, path=None, status=status, client=client)
