"""What each command does; server.cli declares them."""
