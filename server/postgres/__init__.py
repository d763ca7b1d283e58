"""How `server.embedded` does it. Standard library alone: the supervisor runs without packages."""
