"""Recurring work: scheduled refreshes and live polls."""
