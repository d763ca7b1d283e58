"""One leader among the processes of a deployment, and its tasks."""
