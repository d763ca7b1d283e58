"""A hostile upstream: small responses that expand to large ones."""

import contextlib
import gzip
import http.server
import socketserver
import threading
from collections.abc import Iterator
from typing import Any

_PAIRS = 4_000_000


class _Hostile(http.server.BaseHTTPRequestHandler):
    """Answers all requests with 19 KB of gzip: 12 MB of text and millions of lists."""

    protocol_version = "HTTP/1.1"
    bomb = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(self.bomb)))
        self.end_headers()
        self.wfile.write(self.bomb)

    def log_message(self, *_: Any) -> None:  # noqa: ANN401 - as it is inherited
        """Log nothing."""


class _Threads(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


@contextlib.contextmanager
def hostile_upstream() -> Iterator[str]:
    """Run one for the block and yield its URL."""
    _Hostile.bomb = gzip.compress(b'{"prices":[' + b"[]," * _PAIRS + b"[]]}")
    with _Threads(("127.0.0.1", 0), _Hostile) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/api/v3"
        finally:
            server.shutdown()
            thread.join()
