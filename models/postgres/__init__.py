"""Connections to PostgreSQL: opening them, their session settings, pooling, notifications."""
