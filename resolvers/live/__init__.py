"""Followers of changes: newest prices, price updates, refresh runs."""
