"""What the parent and a worker tell each other.

Over the worker's standard input: its pickled Order, and then nothing. It ends when the parent does,
however that ended. Over a socket: connections to the worker, and READY, ALIVE, TAKEN and GONE to
the parent.
"""

from dataclasses import dataclass

from server.config.settings import Settings

CONNECTION = b"c"  # with a connection's descriptor beside it
READY = b"r"  # once: deal me connections
ALIVE = b"a"  # once a second, from READY on
TAKEN = b"t"  # for each connection: close your copy
GONE = b"g"  # for each connection that has ended, some time later


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """What a worker is to do. Never in its arguments or environment: others can read those."""

    settings: Settings  # that name a database
    leads: bool  # the worker that starts refreshes by itself
