"""`signalbox keys`: makes, lists and revokes the API keys of an organisation."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from app import deployment
from engine.roles import Role

cli = typer.Typer(
    help="Make, list and revoke API keys.", no_args_is_help=True, rich_markup_mode=None
)

Org = Annotated[str, typer.Option(help="The organisation, by name.")]


@cli.command()
def create(
    org: Annotated[str, typer.Option(help="The organisation, by name; made when there is none.")],
    role: Annotated[
        Role, typer.Option(help="What the key may do; each role may all that those before it may.")
    ],
    name: Annotated[str, typer.Option(help="What to call the key in lists.")] = "",
) -> None:
    """Make an API key and print it, alone, on the last line.

    It is shown only now: what is kept of it cannot be turned back into it.
    """
    from app.keys import ring

    row, token = ring.create(deployment.settings(), org, role, name or role.value)
    typer.echo(f"key {row.id} of {org}, role {row.role.value}:")
    typer.echo(token)


@cli.command("list")
def list_(org: Org) -> None:
    """List the keys of an organisation, newest first; the keys themselves are not kept."""
    from app.keys import ring

    for row in ring.listed(deployment.settings(), org):
        used = _day(row.last_used_at) if row.last_used_at else "never"
        state = f"revoked {_day(row.revoked_at)}" if row.revoked_at else f"last used {used}"
        typer.echo(
            f"{row.id}  {row.role.value:<8}  made {_day(row.created_at)}  {state}  {row.name}"
        )


@cli.command()
def revoke(
    org: Org, key: Annotated[str, typer.Argument(help="The key's id, as `list` shows it.")]
) -> None:
    """Let a key in no more, from a few seconds on. A second time changes nothing."""
    from app.keys import ring

    ring.revoke(deployment.settings(), org, key)
    typer.echo(f"revoked {key}")


def _day(at: int) -> str:
    return datetime.fromtimestamp(at / 1_000_000, UTC).date().isoformat()
