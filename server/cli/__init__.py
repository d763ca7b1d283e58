"""What each command does; server.cli.main declares them."""
