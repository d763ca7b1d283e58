"""The embedded PostgreSQL. Standard library alone: the supervisor runs without packages."""
