"""The simulator as an ASGI application: endpoints behind an access check and injected faults."""

import asyncio
import threading
import time

from pydantic import TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from simulator.answers import (
    cdn_page,
    json_response,
    plain_error,
    rate_limited,
    server_error,
    throttled_text,
)
from simulator.faults import BODY_FAULTS, Fault, FaultBook, reset
from simulator.gate import Gate, ReceivedRequests, with_logged_status
from simulator.options import DEFAULT_OPTIONS, SimulatorOptions
from simulator.routes import Endpoints, wrong_path

CONTROL_PATH = "/_simulator"
_LOOK_SECONDS = 0.02
_FAULTS = TypeAdapter(Fault | list[Fault])


class SimulatorApp(Starlette):
    """CoinGecko's API under `/api/v3`, and the request log and the faults under `/_simulator`."""

    def __init__(self, options: SimulatorOptions) -> None:
        self.log = ReceivedRequests()
        self.faults = FaultBook(options.seed)
        self._gate = Gate(options)
        control = [
            Route(f"{CONTROL_PATH}/log", self._show_log),
            Route(f"{CONTROL_PATH}/faults", self._add_faults, methods=["POST"]),
            Route(f"{CONTROL_PATH}/faults", self._clear_faults, methods=["DELETE"]),
        ]
        super().__init__(
            routes=[*Endpoints(options).routes(), *control],
            exception_handlers={404: wrong_path},
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Log the request, then refuse it, apply a fault, or answer it."""
        if scope["type"] != "http" or scope["path"].startswith(CONTROL_PATH):
            await super().__call__(scope, receive, send)
            return
        request = Request(scope)
        noted = with_logged_status(send, self.log.arrived(request))
        refusal = self._gate.refusal(request)
        if refusal is not None:
            await refusal(scope, receive, noted)
            return
        fault, cleared = self.faults.take(request)
        if fault is not None and fault.kind == "reset":
            await reset(receive, send)
        elif fault is not None and (answer := _instead(fault)) is not None:
            await answer(scope, receive, noted)
        else:
            if fault is not None and fault.kind == "slow":
                await _wait(fault.seconds, cleared)
            await self._answer(scope, receive, noted, fault)

    async def _answer(
        self, scope: Scope, receive: Receive, send: Send, fault: Fault | None
    ) -> None:
        body_fault = BODY_FAULTS.get(fault.kind) if fault is not None else None
        if body_fault is None:
            await super().__call__(scope, receive, send)
            return
        status, body = 200, b""

        async def collect(message: Message) -> None:
            nonlocal status, body
            status = message.get("status", status)
            body += message.get("body", b"")

        await super().__call__(scope, receive, collect)
        answer = Response(body_fault(body), status, media_type="application/json; charset=utf-8")
        await answer(scope, receive, send)

    async def _show_log(self, _request: Request) -> Response:
        return PlainTextResponse("".join(f"{entry}\n" for entry in self.log.entries()))

    async def _add_faults(self, request: Request) -> Response:
        try:
            given = _FAULTS.validate_json(await request.body())
        except ValidationError as error:
            return plain_error(400, str(error))
        faults = given if isinstance(given, list) else [given]
        for fault in faults:
            self.faults.add(fault)
        return json_response({"added": len(faults)}, 201)

    async def _clear_faults(self, _request: Request) -> Response:
        self.faults.clear()
        return Response(status_code=204)


def create_simulator(options: SimulatorOptions = DEFAULT_OPTIONS) -> SimulatorApp:
    """Create the application, for any ASGI server; `reset` faults need uvicorn."""
    return SimulatorApp(options)


async def _wait(seconds: float, cleared: threading.Event) -> None:
    """Wait for `seconds`, or until the faults are cleared, which another thread may do."""
    until = time.monotonic() + seconds
    while not cleared.is_set() and (left := until - time.monotonic()) > 0:  # noqa: ASYNC110 - of another thread
        await asyncio.sleep(min(left, _LOOK_SECONDS))


def _instead(fault: Fault) -> Response | None:
    """Return the response that a fault sends instead of the real one; None if it sends none."""
    if fault.kind == "rate_limited":
        return rate_limited(fault.seconds, fault.retry_after, time.time())
    if fault.kind == "error500":
        return server_error(fault.status or 500, nested=fault.nested)
    if fault.kind == "html":
        return cdn_page(fault.status or 502, "Bad gateway | Error code 502")
    if fault.kind == "forbidden":
        return cdn_page(fault.status or 403, "Access denied | Error code 1020")
    if fault.kind == "throttled_text":
        return throttled_text(fault.status or 429)
    return None
