"""What `signalbox keys` does in the database; every function is one transaction of its own."""

from app import deployment
from app.services.keys import end_of, named
from app.settings import Settings
from engine.errors import Invalid, NotFound
from engine.roles import Role
from store import keys, organisations
from store.database import Tx
from store.keys import LONGEST_REASON, KeyRow


def create(
    settings: Settings, org: str, role: Role, name: str, seconds: int | None = None
) -> tuple[KeyRow, str]:
    """Make a key; answers its row and the key itself, which nobody can find out again.

    Args:
        settings: of the deployment.
        org: the organisation's name; it is made when there is none.
        role: what the key may do.
        name: what the key is called in lists.
        seconds: after which it is let in no more; None for never.

    Raises:
        Invalid: the organisation's name is blank, or the key's name or life cannot be.
    """
    if not org.strip():
        raise Invalid("the organisation needs a name")
    name, expires_at = named(name), end_of(seconds)
    token = keys.new_token()

    def work(tx: Tx) -> KeyRow:
        return keys.add(
            *(tx, organisations.ensure(tx, org), name, role, token, settings.pepper),
            expires_at=expires_at,
        )

    return deployment.write(settings, work), token


def listed(settings: Settings, org: str) -> list[KeyRow]:
    """The organisation's keys, newest first, the revoked ones too.

    Raises:
        NotFound: it has none.
    """
    return deployment.write(settings, lambda tx: _page(tx, org)[1])


def rotate(settings: Settings, org: str, key_id: str) -> tuple[KeyRow, str]:
    """Put a new key in the place of one; answers its row and the key itself.

    Raises:
        NotFound: the organisation has no such key.
        Conflict: it is revoked or has expired.
    """
    token = keys.new_token()

    def work(tx: Tx) -> KeyRow:
        return keys.rotate(tx, _page(tx, org)[0], key_id, token, settings.pepper)

    return deployment.write(settings, work), token


def revoke(settings: Settings, org: str, key_id: str, reason: str | None = None) -> None:
    """Let a key in no more, the last admin's too: whoever may do this can make another.

    Raises:
        NotFound: the organisation has no such key.
        Invalid: the reason is too long.
    """
    if reason is not None and len(reason) > LONGEST_REASON:
        raise Invalid(f"a reason has {LONGEST_REASON} characters at most")
    deployment.write(settings, lambda tx: keys.revoke(tx, _page(tx, org)[0], key_id, reason=reason))


def _page(tx: Tx, org: str) -> tuple[str, list[KeyRow]]:
    """An organisation's id and keys; where there are none, no organisation is left behind."""
    org_id = organisations.ensure(tx, org)
    rows, _ = keys.page(tx, org_id)
    if not rows:
        raise NotFound(f"The organisation {org} has no keys.")
    return org_id, rows
