"""An upstream that withholds: the simulator, with parts of its charts left out on request."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import orjson
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from simulator import SimulatorOptions, create_simulator

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
Chart = dict[str, list[Any]]
REFUSED: Chart = {"refused": []}  # in place of a chart: the answer of a plan with less history
NOT_FOUND: Chart = {"not found": []}
_NAMES = ("prices", "market_caps", "total_volumes")
_REFUSAL = {
    "error": {
        "status": {
            "error_code": 10012,
            "error_message": "Your request exceeds the allowed time range.",
        }
    }
}


@dataclass(frozen=True)
class ChartCall:
    """One call for a chart: milliseconds since 1970."""

    coin: str
    currency: str
    start: int
    end: int

    @property
    def daily(self) -> bool:
        return self.end - self.start > 90 * DAY_MS


Spoiler = Callable[[ChartCall, Chart], Chart]


def points(chart: Chart, keep: Callable[[int], bool]) -> Chart:
    """Leave out of all three arrays what lies at other times."""
    return {name: [each for each in values if keep(each[0])] for name, values in chart.items()}


def empty(_: ChartCall, chart: Chart) -> Chart:
    return points(chart, lambda _: False)


def without(first: float, last: float) -> Spoiler:
    """Leave out what lies from so many to so many days before the end of the range."""
    return lambda asked, chart: points(
        chart, lambda at: not asked.end - first * DAY_MS <= at <= asked.end - last * DAY_MS
    )


def days_for_hours(_: ChartCall, chart: Chart) -> Chart:
    """Give the first point of each day alone, at midnight sharp."""
    spoiled: Chart = {}
    for name, values in chart.items():
        days = {at // DAY_MS: value for at, value in reversed(values)}
        spoiled[name] = [[day * DAY_MS, value] for day, value in sorted(days.items())]
    return spoiled


def half_null(_: ChartCall, chart: Chart) -> Chart:
    """Make null of the older half of the prices."""
    prices = chart["prices"]
    half = len(prices) // 2
    return chart | {"prices": [[at, None] for at, _ in prices[:half]] + prices[half:]}


def refused(_: ChartCall, chart: Chart) -> Chart:
    return REFUSED


def not_found(_: ChartCall, chart: Chart) -> Chart:
    return NOT_FOUND


@dataclass
class Withholding:
    """A running upstream. What `spoil` makes of a chart is the answer; None: the whole chart."""

    base_url: str
    spoil: Spoiler | None = None
    asked: list[ChartCall] = field(default_factory=list)
    simulator: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self.simulator is not None
        if scope["type"] != "http" or not scope["path"].endswith("/market_chart/range"):
            await self.simulator(scope, receive, send)
            return
        query = {name: each[0] for name, each in parse_qs(scope["query_string"].decode()).items()}
        coin = scope["path"].split("/")[-3]
        start, end = (int(float(query[edge]) * 1000) for edge in ("from", "to"))
        asked = ChartCall(coin, query["vs_currency"], start, end)
        self.asked.append(asked)
        if self.spoil is None:
            await self.simulator(scope, receive, send)
            return
        status, body = 200, b""

        async def collect(message: Message) -> None:
            nonlocal status, body
            status = message.get("status", status)
            body += message.get("body", b"")

        await self.simulator(scope, receive, collect)
        chart = orjson.loads(body) if status == 200 else {name: [] for name in _NAMES}
        spoiled = self.spoil(asked, chart)
        if spoiled is REFUSED:
            status, body = 401, orjson.dumps(_REFUSAL)
        elif spoiled is NOT_FOUND:
            status, body = 404, b'{"error":"coin not found"}'
        elif spoiled is not chart:  # else it is upstream's own answer, an error included
            status, body = 200, orjson.dumps(spoiled)
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def forget(self) -> None:
        self.asked.clear()


@contextlib.contextmanager
def withholding(options: SimulatorOptions | None = None) -> Iterator[Withholding]:
    """Serve such an upstream from a thread while the block runs."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    upstream = Withholding(
        f"http://127.0.0.1:{listener.getsockname()[1]}/api/v3",
        simulator=create_simulator(options or SimulatorOptions()),
    )
    server = uvicorn.Server(
        uvicorn.Config(upstream, ws="none", lifespan="off", log_config=None, log_level=None)
    )
    thread = threading.Thread(target=server.run, args=[[listener]], daemon=True)
    thread.start()
    try:
        yield upstream
    finally:
        server.should_exit = server.force_exit = True
        thread.join()
        listener.close()
