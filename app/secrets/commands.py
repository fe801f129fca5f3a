"""`signalbox secrets`: keeps, lists and removes the secrets of an organisation."""

import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from app import deployment

cli = typer.Typer(
    help="Keep, list and remove secrets.", no_args_is_help=True, rich_markup_mode=None
)

Org = Annotated[str, typer.Option(help="The organisation, by name.")]
Name = Annotated[str, typer.Argument(help="As in `secrets.NAME`: letters, digits, underscores.")]


@cli.command("set")
def set_(name: Name, org: Org = "default") -> None:
    """Keep a value under a name, in place of one that was there.

    The value is asked for, or read from standard input, where one newline at its end is left out.
    It is never an argument: those are seen by everybody on the machine.
    """
    from app.secrets import drawer

    if sys.stdin.isatty():
        value: str = typer.prompt("Value", hide_input=True)
    else:
        value = sys.stdin.buffer.read().decode(errors="surrogateescape").removesuffix("\n")
    new = drawer.put(deployment.settings(), org, name, value)
    typer.echo(f"{'kept' if new else 'replaced'} {name} of {org}")


@cli.command("list")
def list_(org: Org = "default") -> None:
    """List the secrets of an organisation by name; values are never shown."""
    from app.secrets import drawer

    for row in drawer.listed(deployment.settings(), org):
        made, changed = _day(row.created_at), _day(row.updated_at)
        typer.echo(f"{row.name}  made {made}  changed {changed}")


@cli.command()
def delete(name: Name, org: Org = "default") -> None:
    """Forget a secret; steps that need it fail from then on."""
    from app.secrets import drawer

    drawer.remove(deployment.settings(), org, name)
    typer.echo(f"removed {name} of {org}")


@cli.command()
def rotate() -> None:
    """Encrypt every secret of every organisation under the first key of SIGNALBOX_SECRETS_KEY.

    When it is done, and all processes have the new first key, the other keys can go.
    """
    from app.secrets import drawer

    anew = drawer.rotate(deployment.settings())
    typer.echo(f"{anew} encrypted anew")


def _day(at: int) -> str:
    return datetime.fromtimestamp(at / 1_000_000, UTC).date().isoformat()
