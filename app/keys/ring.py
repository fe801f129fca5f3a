"""What `signalbox keys` does in the database; every function is one transaction of its own."""

from app import deployment
from app.settings import Settings
from engine.errors import Invalid, NotFound
from engine.roles import Role
from store import keys, organisations
from store.database import Tx
from store.keys import KeyRow


def create(settings: Settings, org: str, role: Role, name: str) -> tuple[KeyRow, str]:
    """Make a key; answers its row and the key itself, which nobody can find out again.

    Args:
        settings: of the deployment.
        org: the organisation's name; it is made when there is none.
        role: what the key may do.
        name: what the key is called in lists.

    Raises:
        Invalid: the organisation's name is blank.
    """
    if not org.strip():
        raise Invalid("the organisation needs a name")
    token = keys.new_token()

    def work(tx: Tx) -> KeyRow:
        return keys.add(tx, organisations.ensure(tx, org), name, role, token, settings.pepper)

    return deployment.write(settings, work), token


def listed(settings: Settings, org: str) -> list[KeyRow]:
    """The organisation's keys, newest first, the revoked ones too.

    Raises:
        NotFound: it has none.
    """
    return deployment.write(settings, lambda tx: _page(tx, org)[1])


def revoke(settings: Settings, org: str, key_id: str) -> None:
    """Let a key in no more.

    Raises:
        NotFound: the organisation has no such key.
    """
    deployment.write(settings, lambda tx: keys.revoke(tx, _page(tx, org)[0], key_id))


def _page(tx: Tx, org: str) -> tuple[str, list[KeyRow]]:
    """An organisation's id and keys; where there are none, no organisation is left behind."""
    org_id = organisations.ensure(tx, org)
    rows = keys.page(tx, org_id)
    if not rows:
        raise NotFound(f"The organisation {org} has no keys.")
    return org_id, rows
