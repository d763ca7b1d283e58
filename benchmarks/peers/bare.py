"""The upper bound: Starlette routes that return prepared bytes."""

import os
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from benchmarks.peers.where import ANSWERS

_BODIES = {path.stem: path.read_bytes() for path in Path(os.environ[ANSWERS]).glob("*.json")}


async def answer(request: Request) -> Response:
    return Response(_BODIES[request.path_params["name"]], media_type="application/json")


app = Starlette(routes=[Route("/{name}", answer, methods=["GET", "POST"])])
