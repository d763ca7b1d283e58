"""Docker's health check: exit status 0 if the server in this container is ready, else 1.

It connects to HOST and PORT, so set those instead of --host and --port. ROOT_PATH does not matter.
It does not use urllib, which would connect through a proxy.
"""  # noqa: INP001 - a script, run by its path

import http.client
import os
import sys

ANY = {"*": ("127.0.0.1", "::1"), "::": ("127.0.0.1", "::1"), "0.0.0.0": ("127.0.0.1",)}  # noqa: S104 - names
ANY["localhost"] = ANY["*"]


def ask(host: str, port: int) -> bool:
    """Print the readiness at one address; return True if ready. Raises OSError, HTTPException."""
    connection = http.client.HTTPConnection(host, port, timeout=4)
    connection.request("GET", "/health/ready")
    response = connection.getresponse()
    print(response.status, response.read(1000).decode(errors="replace"))  # noqa: T201 - docker inspect shows it
    return response.status == http.HTTPStatus.OK


def setting(name: str, default: str) -> str:
    """Read a setting like the server: without the quotes that `docker run --env-file` keeps."""
    value = os.environ.get(name, "").strip()
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        value = value[1:-1]
    return value or default


def main() -> None:
    """Check each address of HOST until one responds."""
    port = int(setting("PORT", "8000"))
    names = [name.strip().strip("[]").lower() for name in setting("HOST", "127.0.0.1").split(",")]
    failures = []
    for host in (address for name in names if name for address in ANY.get(name, (name,))):
        try:
            sys.exit(not ask(host, port))
        except (OSError, http.client.HTTPException) as error:
            failures.append(f"{host}: {error}")
    sys.exit(f"no response: {'; '.join(failures)}")


main()
