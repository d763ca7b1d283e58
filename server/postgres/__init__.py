"""The embedded PostgreSQL. Uses only the standard library: the supervisor has no packages."""
