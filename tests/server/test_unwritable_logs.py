"""Unwritable logs and output fail nothing."""

import contextlib
import io
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import pytest
import structlog

from server.cli.startup import CommandError, one_line_errors, with_token
from server.config.settings import Settings
from server.logs import set_up_logs
from simulator import Simulator
from tests.serving import TOKEN, live_server, make_settings


def _of_no_reader() -> TextIO:
    reader, writer = os.pipe()
    os.close(reader)
    return os.fdopen(writer, "w", buffering=1)


def _full() -> TextIO:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    return Path("/dev/full").open("w", buffering=1)


def _closed() -> TextIO:
    closed = io.StringIO()
    closed.close()
    return closed


WRITTEN_IN_VAIN = pytest.mark.parametrize("make", [_of_no_reader, _full, _closed])


@pytest.mark.slow
@WRITTEN_IN_VAIN
@pytest.mark.usefixtures("stream")
async def test_an_unwritable_line_fails_nothing(
    make: Callable[[], TextIO], database_url: str, shared_simulator: Simulator
) -> None:
    lost = make()
    with contextlib.redirect_stderr(lost):
        set_up_logs("json", "info")
        with pytest.raises((OSError, ValueError)):
            sys.stderr.write("lost\n")
        logging.getLogger("other").warning("lost too")
        async with live_server(make_settings(database_url, shared_simulator)) as server:
            run = "mutation { refreshPrices(input: {wait: true}) { run { status } } }"
            answer = await server.data(run, token=TOKEN)
            assert answer == {"refreshPrices": {"run": {"status": "SUCCEEDED"}}}
            assert (await server.error("mutation { refreshPrices { started } }"))[0] == 401
    with contextlib.suppress(OSError):
        lost.close()


@WRITTEN_IN_VAIN
def test_unwritable_output_of_a_command(make: Callable[[], TextIO], tmp_path: Path) -> None:
    lost = make()
    with contextlib.redirect_stderr(lost):
        (token,) = with_token(Settings(_env_file=None, data_dir=tmp_path)).refresh_tokens
        with pytest.raises(SystemExit, match="2"), one_line_errors():
            raise CommandError("Nobody reads it.")
    assert token.get_secret_value() == (tmp_path / "refresh-token").read_text().strip()
    with contextlib.suppress(OSError):
        lost.close()


@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.usefixtures("stream")
def test_without_a_standard_error(monkeypatch: pytest.MonkeyPatch, log_format: str) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    monkeypatch.setattr(sys, "stdout", None)
    set_up_logs(log_format, "info")
    structlog.get_logger("coingraph.test").error("lost")
    logging.getLogger("other").error("lost too")
    sys.stderr.close()
