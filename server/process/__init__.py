"""Server processes: listeners, workers, and the connections between them."""
