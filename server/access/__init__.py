"""Who may come in, and how much each caller may hold: tokens, rate and connection limits."""
