"""`signalbox keys`: makes, lists, rotates and revokes the API keys of an organisation."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from app import deployment
from engine.roles import Role

if TYPE_CHECKING:
    from store.keys import KeyRow

cli = typer.Typer(
    help="Make, list, rotate and revoke API keys.", no_args_is_help=True, rich_markup_mode=None
)

Org = Annotated[str, typer.Option(help="The organisation, by name.")]
Key = Annotated[str, typer.Argument(help="The key's id, as `list` shows it.")]


@cli.command()
def create(
    org: Annotated[str, typer.Option(help="The organisation, by name; made when there is none.")],
    role: Annotated[
        Role, typer.Option(help="What the key may do; each role may all that those before it may.")
    ],
    name: Annotated[str, typer.Option(help="What to call the key in lists.")] = "",
    days: Annotated[
        int | None,
        typer.Option(
            min=1, max=36_500, help="After how many days it ends; never, if it is not said."
        ),
    ] = None,
) -> None:
    """Make an API key and print it, alone, on the last line.

    It is shown only now: what is kept of it cannot be turned back into it.
    """
    from app.keys import ring

    seconds = None if days is None else days * 24 * 3600
    row, token = ring.create(deployment.settings(), org, role, name or role.value, seconds)
    typer.echo(f"key {row.id} of {org}, role {row.role.value}:")
    typer.echo(token)


@cli.command("list")
def list_(org: Org) -> None:
    """List the keys of an organisation, newest first; the keys themselves are not kept."""
    from app.keys import ring

    for row in ring.listed(deployment.settings(), org):
        typer.echo(
            f"{row.id}  {row.role.value:<8}  made {_day(row.created_at)}  {_state(row)}  {row.name}"
        )


@cli.command()
def rotate(org: Org, key: Key) -> None:
    """Put a new key in the place of one and print it, alone, on the last line.

    It has the role and the end of the old one, which is let in no more, from a second later on.
    """
    from app.keys import ring

    row, token = ring.rotate(deployment.settings(), org, key)
    typer.echo(f"key {row.id} of {org}, role {row.role.value}, in the place of {key}:")
    typer.echo(token)


@cli.command()
def revoke(
    org: Org,
    key: Key,
    reason: Annotated[
        str | None, typer.Option(help="Why, for those who look at the key later.")
    ] = None,
) -> None:
    """Let a key in no more, from a second later on. A second time changes nothing."""
    from app.keys import ring

    ring.revoke(deployment.settings(), org, key, reason)
    typer.echo(f"revoked {key}")


def _state(row: "KeyRow") -> str:
    """What became of a key, in a few words."""
    if row.revoked_at is not None:
        return f"revoked {_day(row.revoked_at)}"
    used = f"last used {_day(row.last_used_at) if row.last_used_at is not None else 'never'}"
    if row.expires_at is None:
        return used
    return f"{used}  {'expired' if row.expired else 'expires'} {_day(row.expires_at)}"


def _day(at: int) -> str:
    return datetime.fromtimestamp(at / 1_000_000, UTC).date().isoformat()
