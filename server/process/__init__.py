"""Server processes: listening, workers, and what connects them."""
