"""Keys in the `state` of an ASGI scope that the application and its connection share."""

ABORT = "abort_connection"  # a function that aborts the connection
DRAIN = "coingraph.drain"  # a `server.http.backpressure.Drain`
BODY_TIMED_OUT = "coingraph.late"  # True after the time for a request's body has run out
RELEASE = "coingraph.leave"  # a function to call when the connection has ended
