"""The `coingraph` command."""


def main() -> None:
    raise SystemExit("not yet")
