"""Whether the server in this container can do its work: exit status 0 or 1.

It listens on PORT, so change that setting rather than give --port. No urllib: it would ask a proxy.
"""  # noqa: INP001 - a script, run by its path

import http.client
import os
import sys

connection = http.client.HTTPConnection("127.0.0.1", int(os.environ.get("PORT") or 8000), timeout=4)
try:
    connection.request("GET", "/health/ready")
    response = connection.getresponse()
    print(response.status, response.read(1000).decode(errors="replace"))  # noqa: T201 - docker inspect shows it
except (OSError, http.client.HTTPException) as error:
    sys.exit(f"no answer: {error}")
sys.exit(response.status != http.HTTPStatus.OK)
