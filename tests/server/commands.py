"""Runs commands in their own process, like a shell."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.server.postgres_processes import ROOT

PROGRAM = (sys.executable, "-c", "from server.cli.main import main; main()")


def run(
    arguments: Sequence[str],
    variables: Mapping[str, str],
    cwd: Path | None = None,
    prefix: Sequence[str] = (),
) -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end, with only this environment."""
    return subprocess.run(
        [*prefix, *PROGRAM, *arguments],
        env=_environment(variables),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=240,
        check=False,
    )


async def run_concurrently(
    arguments: Sequence[str], variables: Mapping[str, str], cwd: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run a command in a thread, so that the event loop goes on."""
    return await asyncio.to_thread(run, arguments, variables, cwd)


def _environment(variables: Mapping[str, str]) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return {**kept, "PYTHONPATH": str(ROOT), **variables}


def one_line(done: subprocess.CompletedProcess[bytes]) -> str:
    """Return the only line of a command that fails with status 2."""
    text = done.stderr.decode()
    assert done.returncode == 2, text
    assert "Traceback" not in text
    lines = text.splitlines()
    assert len(lines) == 1, text
    assert lines[0].startswith("coingraph: ")
    return lines[0].removeprefix("coingraph: ")
