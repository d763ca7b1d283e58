"""The messages between the parent process and a worker.

Over the standard input of the worker: its pickled WorkerConfig and nothing else. Standard input
ends when the parent ends, in whatever way. Over a socket: connections to the worker, and READY,
ALIVE, TAKEN and GONE to the parent.
"""

from dataclasses import dataclass

from server.config.settings import Settings

CONNECTION = b"c"  # with the descriptor of a connection
READY = b"r"  # once: the worker takes connections
ALIVE = b"a"  # once a second after READY
TAKEN = b"t"  # for each connection: the parent may close its copy
GONE = b"g"  # for each ended connection, with a delay


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """A worker's configuration. Never in its arguments or environment: others can read those."""

    settings: Settings  # with `database_url`
    leads: bool  # the worker that takes part in the leader election
