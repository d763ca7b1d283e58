"""Runs the client libraries of tests/clients on Node."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

CLIENTS = Path(__file__).resolve().parents[2] / "clients"
SECONDS = 60  # for Node to start, with other tests on the same machine


def node() -> str:
    """Return the path of Node, the pinned one if present.

    Without Node or the clients the test is skipped, except in CI.
    """
    missing = None
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    if (program := shutil.which("node", path=places)) is None:
        missing = "no Node: `make test` installs one"
    elif not (CLIENTS / "node_modules" / "graphql-ws").is_dir():
        missing = "no clients: npm could not install tests/clients"
    if missing and os.environ.get("CI"):
        pytest.fail(missing)
    if missing or program is None:
        pytest.skip(missing or "")
    return program


class Driven:
    """A running client; each of its steps is a line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout
        self._lines = process.stdout
        self.process = process

    async def any_step(self) -> dict[str, Any]:
        """Wait for the next step."""
        line = await asyncio.wait_for(self._lines.readline(), SECONDS)
        assert line, "it ended early"
        step: dict[str, Any] = json.loads(line)
        return step

    async def step(self, name: str) -> dict[str, Any]:
        """Wait for the next step, which must be this one."""
        step = await self.any_step()
        assert step["step"] == name, step
        return step


@contextlib.asynccontextmanager
async def driven(*arguments: str, script: str = "") -> AsyncIterator[Driven]:
    """Run Node with these arguments and a script on standard input."""
    process = await asyncio.create_subprocess_exec(
        *(node(), *arguments),
        cwd=CLIENTS,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin
    process.stdin.write(script.encode())
    process.stdin.close()
    try:
        yield Driven(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # the pinned `node` is a script that starts Node
        await process.wait()
