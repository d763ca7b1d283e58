"""Where settings come from: the environment, `.env`, and files that hold secrets."""
