"""Organisations: whose things are whose."""

from sqlalchemy import select

from engine.errors import NotFound
from store import entity_types
from store.clock import now
from store.database import Tx, insert
from store.ids import new_id
from store.tables import organisations


def ensure(tx: Tx, name: str) -> str:
    """The id of the organisation of this name, which is made when there is none."""
    find = select(organisations.c.id).where(organisations.c.name == name)
    found = tx.scalar(find)
    if found is None:
        tx.execute(
            insert(tx, organisations)
            .values(id=new_id(), name=name, created_at=now())
            .on_conflict_do_nothing(index_elements=["name"])
        )
        found = tx.execute(find).scalar_one()
        entity_types.add_builtin(tx, found)
    return str(found)


def find(tx: Tx, name: str) -> str:
    """The id of the organisation of this name.

    Raises:
        NotFound: there is none.
    """
    found = tx.scalar(select(organisations.c.id).where(organisations.c.name == name))
    if found is None:
        raise NotFound(f"There is no organisation {name}.")
    return str(found)
