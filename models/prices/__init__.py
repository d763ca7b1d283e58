"""Prices: reading them, writing them, and the arithmetic of hours and days."""
