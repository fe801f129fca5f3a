"""Agents of an organisation: found by id or by name, which is unique in it."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Insert, Row, Update, bindparam, case, delete, func, or_, select, update
from sqlalchemy.exc import IntegrityError

from engine.agent import AgentSpec
from engine.errors import Conflict, NotFound
from store.clock import now
from store.database import Tx
from store.ids import new_id
from store.tables import agents

#: The one of this id goes before one that has it for a name.
_FIND = (
    select(agents)
    .where(
        agents.c.org_id == bindparam("org"),
        or_(agents.c.id == bindparam("id"), agents.c.name == bindparam("name")),
    )
    .order_by(case((agents.c.id == bindparam("id"), 0), else_=1))
    .limit(1)
)


@dataclass(frozen=True)
class AgentRow:
    """An agent. Times are microseconds UTC."""

    id: str
    org_id: str
    name: str
    spec: AgentSpec
    created_at: int
    updated_at: int


def create(tx: Tx, org_id: str, name: str, spec: AgentSpec) -> AgentRow:
    """A new agent.

    Raises:
        Conflict: the organisation has one of this name.
    """
    at = now()
    values = {"id": new_id(), "org_id": org_id, "created_at": at, "updated_at": at}
    return _kept(tx, agents.insert().values(**values, name=name, spec=spec.model_dump_json()))


def get(tx: Tx, org_id: str, agent_id: str) -> AgentRow:
    """The agent of this id.

    Raises:
        NotFound: there is none, or it is another organisation's.
    """
    row = tx.execute(
        select(agents).where(agents.c.id == agent_id, agents.c.org_id == org_id)
    ).one_or_none()
    if row is None:
        raise _absent()
    return _row(row)


def find(tx: Tx, org_id: str, agent_id: str, name: str) -> AgentRow | None:
    """The agent of this id, else the one of this name."""
    row = tx.execute(_FIND, {"org": org_id, "id": agent_id, "name": name}).one_or_none()
    return _row(row) if row is not None else None


def page(tx: Tx, org_id: str, *, limit: int, offset: int) -> tuple[list[AgentRow], int]:
    """A page of the organisation's agents, newest first, and how many there are in all."""
    mine = agents.c.org_id == org_id
    rows = tx.execute(
        select(agents)
        .where(mine)
        .order_by(agents.c.created_at.desc(), agents.c.id.desc())
        .limit(limit)
        .offset(offset)
    ).all()
    total = tx.execute(select(func.count()).select_from(agents).where(mine)).scalar_one()
    return [_row(row) for row in rows], total


def replace(tx: Tx, org_id: str, agent_id: str, name: str, spec: AgentSpec) -> AgentRow:
    """Give an agent another name and another specification.

    Raises:
        NotFound: there is none of this id, or it is another organisation's.
        Conflict: another agent of the organisation has the name.
    """
    return _kept(
        tx,
        update(agents)
        .where(agents.c.id == agent_id, agents.c.org_id == org_id)
        .values(name=name, spec=spec.model_dump_json(), updated_at=now()),
    )


def remove(tx: Tx, org_id: str, agent_id: str) -> None:
    """Delete an agent; workflows that name it are left as they are.

    Raises:
        NotFound: there is none of this id, or it is another organisation's.
    """
    gone = tx.execute(
        delete(agents)
        .where(agents.c.id == agent_id, agents.c.org_id == org_id)
        .returning(agents.c.id)
    )
    if gone.first() is None:
        raise _absent()


def _kept(tx: Tx, statement: Insert | Update) -> AgentRow:
    try:
        with tx.begin_nested():
            row = tx.execute(statement.returning(agents)).one_or_none()
    except IntegrityError:
        raise Conflict("There is an agent of this name already.", code="agent_exists") from None
    if row is None:
        raise _absent()
    return _row(row)


def _absent() -> NotFound:
    return NotFound("There is no such agent.", code="agent_not_found")


def _row(row: Row[Any]) -> AgentRow:
    return AgentRow(
        id=row.id,
        org_id=row.org_id,
        name=row.name,
        spec=AgentSpec.model_validate_json(row.spec),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
