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

# Each command imports its modules when it runs: `coingraph --help` must not load a web server.


@app.command()
def serve(
    host: Annotated[
        str | None, typer.Option(help="The addresses to listen on; default: HOST.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="The port; default: PORT.")] = None,
    workers: Annotated[
        int | None, typer.Option(help="The number of server processes; default: WORKERS.")
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Fetch prices from the built-in simulator.")
    ] = False,
) -> None:
    """Migrate the database and serve the API and GraphiQL."""
    from server.cli.serve import serve as run  # noqa: PLC0415 - see above

    given = {"host": host, "port": port, "workers": workers}
    given = {name: value for name, value in given.items() if value is not None}
    raise typer.Exit(run(demo=demo, **given))


@app.command()
def refresh(
    coins: Annotated[
        str | None, typer.Option(help="Only these coins, separated by commas.")
    ] = None,
    currencies: Annotated[
        str | None, typer.Option(help="Only these currencies, separated by commas.")
    ] = None,
    days: Annotated[
        int | None, typer.Option(min=1, max=3650, help="Fetch this many days, not only gaps.")
    ] = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Replace stored prices by CoinGecko's current ones.")
    ] = False,
    only_due: Annotated[
        bool,
        typer.Option("--only-due", help="Skip series that CoinGecko lacked recently: for cron."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show the planned calls and their cost.")
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
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port.")] = 8900,
    seed: Annotated[
        int, typer.Option(help="Seed of the market; equal seeds give equal prices.")
    ] = 1,
    per_minute: Annotated[
        int, typer.Option(help="Calls per minute before status 429; 0: no limit.")
    ] = 0,
    key: Annotated[
        str | None, typer.Option(help="Require this key in the demo plan's header.")
    ] = None,
) -> None:
    """Serve a simulated CoinGecko on http://HOST:PORT/api/v3."""
    from server.cli.simulate import simulate as run  # noqa: PLC0415 - see above

    raise typer.Exit(run(host=host, port=port, seed=seed, per_minute=per_minute, key=key))


@app.command()
def migrate() -> None:
    """Migrate the database."""
    from server.cli.migrate import migrate as run  # noqa: PLC0415 - see above

    raise typer.Exit(run())


@app.command()
def status() -> None:
    """Show the freshness of each series."""
    from server.cli.status import status as run  # noqa: PLC0415 - see above

    raise typer.Exit(run())


@app.command("remove-coin")
def remove_coin(
    coin: Annotated[str, typer.Argument(help="CoinGecko's id of the coin, for example bitcoin.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before deleting.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be deleted.")
    ] = False,
) -> None:
    """Delete a coin that is no longer in COINS, with all its prices."""
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
    content = text.encode()  # UTF-8 in any locale
    if output is None:
        typer.echo(content, nl=False)
        return
    try:
        output.write_bytes(content)
    except OSError as error:
        typer.echo(f"coingraph: {output} cannot be written: {error.strerror}", err=True)
        raise typer.Exit(2) from None


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a character that the locale lacks is no error
            stream.reconfigure(errors="backslashreplace")
    app(prog_name="coingraph")
