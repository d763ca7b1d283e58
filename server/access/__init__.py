"""Who is calling, what a caller may do, and how much of it."""
