"""The `coingraph` command."""

import io
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Self-hosted price history and live prices for crypto, over GraphQL.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

# Each command loads what it needs when it runs: `coingraph --help` must not load a web server.


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Where to listen; else HOST.")] = None,
    port: Annotated[int | None, typer.Option(help="Which port; else PORT.")] = None,
    workers: Annotated[
        int | None, typer.Option(help="How many processes serve; else WORKERS.")
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Take prices from the built-in simulator.")
    ] = False,
) -> None:
    """Bring the database up to date and serve the API and GraphiQL."""
    from server.cli.serve import serve as run  # noqa: PLC0415 - see above

    given = {"host": host, "port": port, "workers": workers}
    given = {name: value for name, value in given.items() if value is not None}
    raise typer.Exit(run(demo=demo, **given))


@app.command()
def refresh(
    coins: Annotated[str | None, typer.Option(help="Only these, separated by commas.")] = None,
    currencies: Annotated[str | None, typer.Option(help="Only these, by commas.")] = None,
    days: Annotated[
        int | None, typer.Option(min=1, max=3650, help="So many days back, not what is missing.")
    ] = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Replace what is kept with what CoinGecko says now.")
    ] = False,
    only_due: Annotated[
        bool,
        typer.Option("--only-due", help="Leave out what CoinGecko did not have lately: for cron."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show its calls, and what they cost.")
    ] = False,
) -> None:
    """Fetch prices once. Exit status: 0 succeeded, 1 partial, 2 failed."""
    from server.cli.refresh import refresh as run  # noqa: PLC0415 - see above

    raise typer.Exit(
        run(
            coins=coins,
            currencies=currencies,
            days=days,
            rebuild=rebuild,
            only_due=only_due,
            dry_run=dry_run,
        )
    )


@app.command()
def simulate(
    host: Annotated[str, typer.Option(help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Which port.")] = 8900,
    seed: Annotated[int, typer.Option(help="Names the market; equal seeds, equal prices.")] = 1,
    per_minute: Annotated[int, typer.Option(help="Answer 429 past so many calls; 0: never.")] = 0,
    key: Annotated[
        str | None, typer.Option(help="Want this key in the demo plan's header.")
    ] = None,
) -> None:
    """Serve a simulated CoinGecko on http://HOST:PORT/api/v3."""
    from server.cli.simulate import simulate as run  # noqa: PLC0415 - see above

    raise typer.Exit(run(host=host, port=port, seed=seed, per_minute=per_minute, key=key))


@app.command()
def migrate() -> None:
    """Bring the database up to date and end."""
    from server.cli.maintenance import migrate as run  # noqa: PLC0415 - see above

    raise typer.Exit(run())


@app.command()
def status() -> None:
    """Show how fresh each series is."""
    from server.cli.maintenance import status as run  # noqa: PLC0415 - see above

    raise typer.Exit(run())


@app.command("remove-coin")
def remove_coin(
    coin: Annotated[str, typer.Argument(help="CoinGecko's id of the coin, such as bitcoin.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before deleting.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be deleted.")
    ] = False,
) -> None:
    """Delete a coin that is not in COINS any more, with all its prices."""
    from server.cli.remove_coin import remove as run  # noqa: PLC0415 - see above

    raise typer.Exit(run(coin, yes=yes, dry_run=dry_run))


@app.command()
def schema(
    output: Annotated[
        Path | None, typer.Option(help="Write it to this file instead of printing it.")
    ] = None,
) -> None:
    """Print the GraphQL schema."""
    from schema import build_schema  # noqa: PLC0415 - see above

    text = build_schema().as_str() + "\n"
    content = text.encode()  # UTF-8, whatever the locale: it is a file's content, printed or not
    if output is None:
        typer.echo(content, nl=False)
        return
    try:
        output.write_bytes(content)
    except OSError as error:
        typer.echo(f"coingraph: {output} cannot be written: {error.strerror}", err=True)
        raise typer.Exit(2) from None


def main() -> None:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a locale without a character must end nothing
            stream.reconfigure(errors="backslashreplace")
    app(prog_name="coingraph")
