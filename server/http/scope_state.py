"""Keys in the `state` of an ASGI scope by which the application talks to its connection."""

ABORT = "abort_connection"  # drops the connection at once
DRAIN = "coingraph.drain"  # a `server.http.backpressure.Drain`
BODY_TIMED_OUT = "coingraph.late"  # set when a request's body is not waited for any longer
RELEASE = "coingraph.leave"  # what to call when the connection has ended
