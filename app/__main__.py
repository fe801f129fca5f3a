"""The command line: `signalbox`.

Every command imports what it needs when it is called, so that `--help` answers at once and the
supervisor stays small.
"""

import os
import signal
import socket
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from app import deployment
from app.embedded import ports, tether
from app.keys import commands as keys
from app.secrets import commands as secrets
from engine.errors import Invalid, SignalboxError

cli = typer.Typer(
    name="signalbox",
    help="Durable workflows written as JSON, started over HTTP, run on Temporal.\n\n"
    "All settings are environment variables: see docs/reference/settings.md.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
cli.add_typer(keys.cli, name="keys")
cli.add_typer(secrets.cli, name="secrets")


@cli.command()
def up(
    stop_with_parent: Annotated[
        bool,
        typer.Option(
            "--stop-with-parent", help="Stop also when the process that started this one ends."
        ),
    ] = False,
) -> None:
    """Run everything here: an embedded Temporal server, the worker and the API.

    SQLite and Temporal keep their files in SIGNALBOX_DATA_DIR (.signalbox), so that the next start
    goes on where this one stopped. DATABASE_URL and TEMPORAL_ADDRESS name others to use instead.
    Prints a line `ready http://...` when requests are served, and where the API key is. One Ctrl-C
    stops all of it; a second one does not wait.
    """
    if stop_with_parent:
        tether.tie(os.getppid(), signal.SIGTERM)
    from app.embedded.up import up

    raise typer.Exit(up())


@cli.command()
def api(
    host: Annotated[str | None, typer.Option(help="Instead of SIGNALBOX_HOST (127.0.0.1).")] = None,
    port: Annotated[
        int | None, typer.Option(help="Instead of SIGNALBOX_PORT (8000); 0 takes a free one.")
    ] = None,
    fd: Annotated[
        int | None, typer.Option(help="Serve on this inherited socket, which listens already.")
    ] = None,
    access_log: Annotated[
        bool, typer.Option("--access-log", help="Say a line for every request.")
    ] = False,
) -> None:
    """Serve the API.

    Any number of these may run on one PostgreSQL database and one Temporal. The database must have
    been brought up to date: see `signalbox migrate`.
    """
    settings = deployment.settings()
    if fd is None:
        deployment.require_migrated(settings)
        listener = ports.listen(
            settings.host if host is None else host, settings.port if port is None else port
        )
    else:
        listener = socket.socket(fileno=fd)
    from app.api_server import serve

    raise typer.Exit(serve(settings, listener, access_log=access_log))


@cli.command()
def worker() -> None:
    """Carry out runs: the same as `python -m worker`.

    Any number of these may run on one PostgreSQL database and one Temporal. TEMPORAL_ADDRESS says
    where Temporal is. SIGTERM or Ctrl-C lets the steps in flight finish for a few seconds.
    """
    deployment.settings()
    # The rooms `app` and `worker` do not know each other; a process may become another.
    os.execv(sys.executable, [sys.executable, "-P", "-m", "worker"])


@cli.command()
def migrate() -> None:
    """Bring the database up to the tables of this release.

    Does nothing when it is up to date, and is safe when several do it at once.
    """
    settings = deployment.settings()
    from store import migrate as migrations

    before = migrations.current(settings.database_url)
    if before != migrations.head():
        migrations.upgrade(settings.database_url)
    after = migrations.head()
    if before == after:
        typer.echo(f"the database is up to date, at {after}")
    else:
        typer.echo(f"the database went from {before or 'nothing'} to {after}")


@cli.command()
def validate(
    file: Annotated[Path, typer.Argument(help="A definition, JSON or YAML; - for standard input.")],
) -> None:
    """Check a workflow definition, and say everything that is wrong with it.

    Runs nothing and needs no database. Exits with 1 when the definition is not valid.
    """
    import yaml

    from activities.registry import catalog
    from engine.validation import check

    try:
        # JSON is YAML too.
        raw = yaml.safe_load(sys.stdin.read() if str(file) == "-" else file.read_text())
    except OSError as error:
        raise Invalid(f"{file}: {(error.strerror or str(error)).lower()}") from error
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise Invalid(f"{file} is neither JSON nor YAML: {error}") from error
    if isinstance(raw, dict) and isinstance(raw.get("definition"), dict):
        # As the API takes it, and as `examples/` keeps it.
        raw = raw["definition"]
    problems = check(raw, catalog()).problems
    for problem in problems:
        typer.echo(f"{problem.path}: {problem.message}" if problem.path else problem.message)
    if problems:
        raise typer.Exit(1)
    typer.echo("valid")


@cli.command()
def demo(
    which: Annotated[
        Literal["kill", "sweep"],
        typer.Argument(help="kill: a worker is killed; sweep: forty vendors are asked."),
    ] = "kill",
) -> None:
    """Show a run that survives the kill of its worker, or one that asks forty vendors.

    Takes half a minute. Starts everything on a temporary directory, with a small HTTP receiver
    beside it, and leaves nothing behind. Needs nothing started before, and no setting changes it.
    """
    from app.demo.story import demo

    raise typer.Exit(demo(which))


@cli.command("step-types")
def step_types_() -> None:
    """Print the reference of the step types as Markdown; needs no database and no settings."""
    from activities.registry import step_types
    from app.reference import step_types_page

    typer.echo(step_types_page(step_types()), nl=False)


@cli.command()
def openapi() -> None:
    """Print the OpenAPI document of the API; needs no database and no settings."""
    import json

    from pydantic import SecretStr

    from app.main import create_app
    from app.settings import Settings

    app = create_app(Settings(key_pepper=SecretStr("nothing is hashed here")))
    typer.echo(json.dumps(app.openapi(), indent=2, sort_keys=True))


def main() -> None:
    """Run the command line; an error that was meant is one line and status 1."""
    try:
        cli()
    except SignalboxError as error:
        sys.exit(f"signalbox: {error.message}")


if __name__ == "__main__":
    main()
