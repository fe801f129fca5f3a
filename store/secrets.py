"""Secrets: values that steps need and nobody is shown again. The table holds them sealed.

Each is bound to its organisation and name, so that a row which was copied to another one does not
open. Source: DESIGN §4.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, bindparam, delete, func, select, update

from engine.errors import NotFound
from store.clock import now
from store.database import Tx, insert
from store.sealing import Keyring, Sealed, UnopenableError
from store.tables import secrets

_SHOWN = [secrets.c.name, secrets.c.created_at, secrets.c.updated_at]
# Built once: making a statement costs more than carrying it out.
_SOME = select(secrets.c.name, secrets.c.ciphertext, secrets.c.key_id).where(
    secrets.c.org_id == bindparam("org"), secrets.c.name.in_(bindparam("names", expanding=True))
)


@dataclass(frozen=True)
class SecretRow:
    """What may be shown of a secret. Times are microseconds UTC."""

    name: str
    created_at: int
    updated_at: int


def put(tx: Tx, org_id: str, name: str, value: str, ring: Keyring) -> tuple[SecretRow, bool]:
    """Keep a value under this name, in place of one that was there; whether it is a new name.

    Raises:
        UnopenableError: the ring has no key.
    """
    sealed, at = ring.seal(value, _bound(org_id, name)), now()
    statement = insert(tx, secrets).values(
        org_id=org_id,
        name=name,
        ciphertext=sealed.content,
        key_id=sealed.key_id,
        created_at=at,
        updated_at=at,
    )
    row = tx.execute(
        statement.on_conflict_do_update(
            index_elements=["org_id", "name"],
            set_={
                column: statement.excluded[column]
                for column in ("ciphertext", "key_id", "updated_at")
            },
        ).returning(*_SHOWN)
    ).one()
    return _row(row), row.created_at == at


def remove(tx: Tx, org_id: str, name: str) -> None:
    """Forget the secret.

    Raises:
        NotFound: the organisation has none of this name.
    """
    gone = tx.execute(
        delete(secrets)
        .where(secrets.c.org_id == org_id, secrets.c.name == name)
        .returning(secrets.c.name)
    ).first()
    if gone is None:
        raise NotFound("There is no such secret.", code="secret_not_found")


def page(tx: Tx, org_id: str, *, limit: int, offset: int) -> tuple[list[SecretRow], int]:
    """A page of the organisation's secrets by name, and how many there are in all."""
    mine = secrets.c.org_id == org_id
    rows = tx.execute(
        select(*_SHOWN).where(mine).order_by(secrets.c.name).limit(limit).offset(offset)
    )
    total = tx.execute(select(func.count()).select_from(secrets).where(mine)).scalar_one()
    return [_row(row) for row in rows], total


def values(
    tx: Tx, org_id: str, names: Collection[str], ring: Keyring
) -> tuple[dict[str, str], list[str]]:
    """The values of the organisation's secrets of these names, those that exist.

    The second answer names those that exist and that no key of the ring opens.
    """
    found: dict[str, str] = {}
    closed: list[str] = []
    for row in tx.execute(_SOME, {"org": org_id, "names": sorted(names)}):
        try:
            found[row.name] = ring.open(
                Sealed(row.ciphertext, row.key_id), _bound(org_id, row.name)
            )
        except UnopenableError:
            closed.append(row.name)
    return found, closed


def reseal(tx: Tx, ring: Keyring) -> tuple[int, int]:
    """Seal every organisation's secrets under the ring's first key, so that the others can go.

    Answers how many were sealed anew, and how many no key of the ring opens: those stay.
    """
    anew = closed = 0
    rows = tx.execute(select(secrets).where(secrets.c.key_id != ring.sealing).with_for_update())
    for row in rows.all():
        bound = _bound(row.org_id, row.name)
        try:
            sealed = ring.seal(ring.open(Sealed(row.ciphertext, row.key_id), bound), bound)
        except UnopenableError:
            closed += 1
            continue
        tx.execute(
            update(secrets)
            .where(secrets.c.org_id == row.org_id, secrets.c.name == row.name)
            .values(ciphertext=sealed.content, key_id=sealed.key_id)
        )
        anew += 1
    return anew, closed


def _bound(org_id: str, name: str) -> str:
    return f"signalbox/secret/{org_id}/{name}"


def _row(row: Row[Any]) -> SecretRow:
    return SecretRow(name=row.name, created_at=row.created_at, updated_at=row.updated_at)
