"""Structured logs on standard error: text for a console, or JSON by LOG_FORMAT."""

import contextlib
import json
import logging
import logging.config
import os
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import orjson
import structlog
from asgi_correlation_id import correlation_id

from ingestion.coingecko.redaction import HIDDEN, Redactor

# The throttle logs when it slows down; stamina would repeat it for each call.
_QUIET = {
    "httpx": "WARNING",
    "httpcore": "WARNING",
    "alembic": "WARNING",
    "models.postgres.pool": "WARNING",  # SQLAlchemy logs by the module of the pool's class
    "stamina": "ERROR",
    "asyncio": "WARNING",
    "asgi_correlation_id": "ERROR",  # it warns of each invalid X-Request-ID
    "uvicorn.error": "INFO",  # at DEBUG it logs the headers of WebSockets with their tokens
    "uvicorn.http": "ERROR",  # it warns of malformed requests, which the access log has
    "uvicorn.websockets": "WARNING",
    "websockets": "INFO",  # as uvicorn.error
}

_OF_REQUESTS = {"method", "path", "status", "ms", "client", "request_id", "worker"} | {
    *("event", "level", "logger", "timestamp")
}
_OF_SEVERAL_LINES = {"exception", "stack"}
_ONLY_HIDDEN = json.dumps({"event": HIDDEN})  # replaces a line that cannot be redacted in part


def set_up_logs(log_format: str, lowest: str, secrets: Iterable[str] = ()) -> None:
    """Render the records of structlog and the standard library alike, with `secrets` redacted.

    Our own records bypass the standard library, which would cost three times as much. A line that
    cannot be written is dropped without an error.
    """
    if sys.stderr is None:  # closed by the parent process
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
    redacted = _Redacted(rendering)
    _set_up_standard_library(shared, [redacted], lowest.upper())
    structlog.configure(
        processors=[*shared, redacted],
        logger_factory=partial(_NamedLogger, sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(lowest),
        cache_logger_on_first_use=True,
    )


class _NamedLogger(structlog.WriteLogger):
    """A logger with the attribute `name`, which `add_logger_name` reads."""

    def __init__(self, file: TextIO, name: str = "") -> None:
        super().__init__(file)
        self.name = name

    def msg(self, message: str) -> None:
        """Write a line; drop it if the reader is gone, the disk is full or the file is closed."""
        with contextlib.suppress(OSError, ValueError):
            super().msg(message)

    log = debug = info = warn = warning = msg
    fatal = failure = err = error = critical = exception = msg


def _set_up_standard_library(
    shared: list[structlog.typing.Processor],
    rendering: list[structlog.typing.Processor],
    lowest: str,
) -> None:
    """Send the records of libraries through the same renderer."""
    levels = logging.getLevelNamesMapping()
    logging.raiseExceptions = False  # else it reports a failed write to the same file
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
            "filters": {"no_addresses": {"()": lambda: _has_no_query_string}},
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "structured"}},
            "root": {"handlers": ["stderr"], "level": lowest},
            "loggers": {
                name: {
                    "level": max(level, lowest, key=levels.__getitem__),
                    "filters": ["no_addresses"],
                }
                for name, level in _QUIET.items()
            },
        }
    )


def _has_no_query_string(record: logging.LogRecord) -> bool:
    """Return False for uvicorn's line on a WebSocket: its query string may hold a token."""
    return '"WebSocket ' not in str(record.msg)


_hidden = Redactor()


class _Redacted:
    """Renders a line and redacts secrets in it, whatever their source.

    In a line of the access log only the values from the caller are searched: three times faster.
    """

    def __init__(self, rendering: list[structlog.typing.Processor]) -> None:
        self._rendering = rendering

    def __call__(self, logger: Any, method: str, event: Any) -> str:  # noqa: ANN401 - what structlog hands on
        clean = False
        if event["event"] == "request" and event.keys() <= _OF_REQUESTS:
            get = event.get
            chosen = f"{get('method')} {get('path')} {get('client')} {get('request_id')}"
            clean = _hidden(chosen) is chosen
        for processor in self._rendering:
            event = processor(logger, method, event)
        line: str = event
        if clean:
            return line
        found = _hidden(line)
        return _ONLY_HIDDEN if found == HIDDEN and line.startswith("{") else found


def redact_in_logs(*secrets: str) -> None:
    """Redact further secrets, which became known after `set_up_logs`."""
    _hidden.add(secrets)


def _json(event: structlog.typing.EventDict, **more: Any) -> str:  # noqa: ANN401 - what structlog hands on
    return orjson.dumps(event, **more).decode()


def _printable(
    _logger: object, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Escape control characters, which a caller may send in a path, for the terminal."""
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
    """Drop records that a library logs through structlog below its level in _QUIET."""
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
