"""The tables, and every line of SQL."""
