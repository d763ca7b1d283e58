"""Connections to PostgreSQL: how they are opened, what each session sets, how many there are."""
