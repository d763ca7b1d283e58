"""A headless Chromium, driven by the DevTools protocol."""

import asyncio
import contextlib
import json
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

SECONDS = 60  # for a browser to start, or a page to come to something


def browser() -> str:
    """Return the path of the program; without it the test is skipped, except in CI."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    if os.environ.get("CI"):
        pytest.fail("no Chromium, and CI must have one")
    pytest.skip("no Chromium: install the package chromium")


def arguments(profile: Path) -> list[str]:
    """Return arguments that restrict it to this machine and disable background requests."""
    return [
        *(browser(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
        *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
        *("--disable-sync", "--disable-dev-shm-usage", f"--user-data-dir={profile}"),
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    ]


class Page:
    """The page of a browser. `complaints`: its errors and violations of its policies."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._count = 0
        self.complaints: list[str] = []

    async def call(self, method: str, **parameters: Any) -> Any:
        self._count += 1
        number = self._count
        message = {"id": number, "method": method, "params": parameters}
        await self._connection.send(json.dumps(message))
        async with asyncio.timeout(SECONDS):
            while True:
                answer = json.loads(await self._connection.recv())
                if answer.get("id") == number:
                    assert "error" not in answer, answer
                    return answer["result"]
                self._note(answer)

    def _note(self, event: dict[str, Any]) -> None:
        if event["method"] == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(event["params"]["exceptionDetails"]))
        elif event["method"] == "Log.entryAdded":
            entry = event["params"]["entry"]
            if entry["source"] == "security":
                self.complaints.append(json.dumps(entry))

    async def evaluate(self, expression: str) -> Any:
        """Evaluate JavaScript to a value that JSON can hold; a promise is awaited."""
        answer = await self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def until(self, expression: str) -> Any:
        """Wait until an expression is true; return its value."""
        try:
            async with asyncio.timeout(SECONDS):
                while not (value := await self.evaluate(expression)):  # noqa: ASYNC110 - pages have no event
                    await asyncio.sleep(0.05)
        except TimeoutError:
            shown = await self.evaluate("document.documentElement.innerText")
            pytest.fail(f"never {expression}; {self.complaints}; {shown[:2000]}")
        return value

    async def open(self, url: str) -> None:
        await self.call("Page.navigate", url=url)
        await self.until("document.readyState === 'complete'")


@contextlib.asynccontextmanager
async def opened_page(profile: Path) -> AsyncIterator[Page]:
    """Start a browser and end it."""
    process = await asyncio.create_subprocess_exec(
        *arguments(profile),
        *("--remote-debugging-port=0", "about:blank"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with (
            asyncio.timeout(SECONDS),
            connect(await _address(profile), proxy=None, max_size=None) as whole,
        ):
            await whole.send(json.dumps({"id": 0, "method": "Target.getTargets"}))
            targets = json.loads(await whole.recv())["result"]["targetInfos"]
        number = next(each["targetId"] for each in targets if each["type"] == "page")
        port = (profile / "DevToolsActivePort").read_text().split()[0]
        address = f"ws://127.0.0.1:{port}/devtools/page/{number}"
        async with connect(address, proxy=None, max_size=None) as connection:
            page = Page(connection)
            for domain in ("Page", "Runtime", "Log"):
                await page.call(f"{domain}.enable")
            yield page
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _address(profile: Path) -> str:
    """Wait until the browser prints its address."""
    file = profile / "DevToolsActivePort"
    while not (file.exists() and len(file.read_text().split()) == 2):  # noqa: ASYNC110 - there is no event
        await asyncio.sleep(0.05)
    port, path = file.read_text().split()
    return f"ws://127.0.0.1:{port}{path}"
