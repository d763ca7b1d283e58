"""Fairness between callers: cooperative scheduling, queues, and a worker thread."""
