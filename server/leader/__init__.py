"""Elects one leader among the processes of a deployment and runs its tasks."""
