"""Schedules: what starts a workflow at its times. Temporal keeps the time; this room has the truth.

Each change raises `revision`; `synced` is the revision that Temporal was last told of. So whoever
tells Temporal may fail, and the sweeper finds what is out of step. A deleted schedule stays until
Temporal has deleted its own. Source: DESIGN §3, "Schedules".
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue
from sqlalchemy import ColumnElement, Row, bindparam, case, delete, func, or_, select, update

from engine.errors import NotFound
from engine.lifecycle import DefinitionStatus
from engine.schedule import Overlap
from store import workflows as workflow_rows
from store.clock import now
from store.database import Tx
from store.ids import new_id
from store.tables import runs, schedules, workflows
from store.values import decode_object, encode


@dataclass(frozen=True)
class Terms:
    """What an author decides about a schedule.

    Attributes:
        cron_expression: empty where there is one time only.
        catchup_window: seconds after its time that a start which was missed is still made.
    """

    cron_expression: str
    timezone: str
    input: dict[str, JsonValue]
    overlap: Overlap
    catchup_window: int
    paused: bool
    note: str | None


@dataclass(frozen=True)
class ScheduleRow:
    """A schedule. Times are microseconds UTC.

    Attributes:
        active: its workflow is active, and there.
        last_run_at: when it last started a run.
        terms: what its author decided.
        run_at: its one time, where it has no others; `store.one_offs` has more of these.
        over: it will not fire any more, and Temporal is to have none.
    """

    id: str
    org_id: str
    workflow_id: str
    active: bool
    terms: Terms
    revision: int
    synced: int
    created_at: int
    updated_at: int
    deleted_at: int | None
    last_run_at: int | None
    run_at: int | None
    over: bool

    @property
    def enabled(self) -> bool:
        """It fires. Whether one with a single time starts a run is decided when it does."""
        return self.run_at is not None or (self.active and not self.terms.paused)

    @property
    def in_step(self) -> bool:
        """Temporal was told of the newest revision."""
        return self.synced >= self.revision


# Built once: making a statement costs more than carrying it out.
_ACTIVE = case(
    (
        (workflows.c.status == DefinitionStatus.ACTIVE) & workflows.c.deleted_at.is_(None),
        1,
    ),
    else_=0,
)
_LAST_RUN = (
    select(func.max(runs.c.created_at)).where(runs.c.schedule_id == schedules.c.id)
).scalar_subquery()
_SELECT = select(schedules, _ACTIVE.label("active"), _LAST_RUN.label("last_run_at")).join(
    workflows, workflows.c.id == schedules.c.workflow_id
)
_BY_ID = _SELECT.where(schedules.c.id == bindparam("schedule"))
#: To be started once, and neither started nor given up.
PENDING = (
    schedules.c.run_at.is_not(None)
    & schedules.c.fired_at.is_(None)
    & schedules.c.canceled_at.is_(None)
)
_OUT_OF_STEP = or_(schedules.c.revision > schedules.c.synced, schedules.c.deleted_at.is_not(None))


def create(tx: Tx, org_id: str, workflow_id: str, terms: Terms) -> ScheduleRow:
    """A new schedule of a workflow.

    Raises:
        NotFound: there is no such workflow in the organisation.
    """
    workflow = workflow_rows.get(tx, org_id, workflow_id)
    schedule_id, at = new_id(), now()
    tx.execute(
        schedules.insert().values(
            id=schedule_id,
            org_id=org_id,
            workflow_id=workflow.id,
            created_at=at,
            updated_at=at,
            **_columns(terms),
        )
    )
    return get(tx, org_id, schedule_id)


def get(tx: Tx, org_id: str, schedule_id: str) -> ScheduleRow:
    """The schedule.

    Raises:
        NotFound: there is none, or it is another organisation's, or it was deleted, or it has a
            single time.
    """
    row = by_id(tx, schedule_id)
    if row is None or row.org_id != org_id or row.deleted_at is not None or row.run_at is not None:
        raise NotFound("There is no such schedule.", code="schedule_not_found")
    return row


def by_id(tx: Tx, schedule_id: str) -> ScheduleRow | None:
    """The schedule of any organisation, deleted or not: for whoever keeps Temporal in step."""
    row = tx.execute(_BY_ID, {"schedule": schedule_id}).one_or_none()
    return None if row is None else _row(row)


def page(
    tx: Tx, org_id: str, workflow_id: str, *, limit: int, offset: int
) -> tuple[list[ScheduleRow], int]:
    """A page of a workflow's schedules, newest first, and how many there are in all.

    Raises:
        NotFound: there is no such workflow in the organisation.
    """
    workflow = workflow_rows.get(tx, org_id, workflow_id)
    wanted = (
        schedules.c.workflow_id == workflow.id,
        schedules.c.deleted_at.is_(None),
        schedules.c.run_at.is_(None),
    )
    rows = tx.execute(
        _SELECT.where(*wanted)
        .order_by(schedules.c.created_at.desc(), schedules.c.id.desc())
        .limit(limit)
        .offset(offset)
    )
    total = tx.execute(select(func.count()).select_from(schedules).where(*wanted)).scalar_one()
    return [_row(row) for row in rows], total


def replace(tx: Tx, org_id: str, schedule_id: str, terms: Terms) -> ScheduleRow:
    """Other terms for the schedule.

    Raises:
        NotFound: there is no such schedule in the organisation.
    """
    row = get(tx, org_id, schedule_id)
    change(tx, schedules.c.id == row.id, **_columns(terms))
    return get(tx, org_id, schedule_id)


def pause(
    tx: Tx, org_id: str, schedule_id: str, *, paused: bool, note: str | None = None
) -> ScheduleRow:
    """Pause the schedule or let it go on; without a note the one that it has stays.

    Raises:
        NotFound: there is no such schedule in the organisation.
    """
    row = get(tx, org_id, schedule_id)
    wanted: dict[str, Any] = {"paused": paused}
    if note is not None:
        wanted["note"] = note
    change(tx, schedules.c.id == row.id, **wanted)
    return get(tx, org_id, schedule_id)


def remove(tx: Tx, org_id: str, schedule_id: str) -> None:
    """Delete the schedule.

    Raises:
        NotFound: there is no such schedule in the organisation.
    """
    row = get(tx, org_id, schedule_id)
    change(tx, schedules.c.id == row.id, deleted_at=now())


def any_of_workflow(tx: Tx, workflow_id: str) -> bool:
    """Whether anything is to start the workflow at its time."""
    mine = (schedules.c.workflow_id == workflow_id) & schedules.c.deleted_at.is_(None)
    waiting = mine & (schedules.c.run_at.is_(None) | PENDING)
    return tx.execute(select(schedules.c.id).where(waiting).limit(1)).first() is not None


def touch_of_workflow(tx: Tx, workflow_id: str) -> None:
    """Put the workflow's schedules out of step: whether they fire depends on its status."""
    change(tx, (schedules.c.workflow_id == workflow_id) & schedules.c.run_at.is_(None))


def delete_of_workflow(tx: Tx, workflow_id: str) -> None:
    """Delete all schedules of a workflow that is being deleted; what is to be started once, is not.

    Those stay, so that whoever has asked for them can find out.
    """
    mine = schedules.c.workflow_id == workflow_id
    change(
        tx, mine & schedules.c.deleted_at.is_(None) & schedules.c.run_at.is_(None), deleted_at=now()
    )
    change(tx, mine & PENDING, canceled_at=now(), cancel_reason="workflow_deleted")


def change(tx: Tx, which: ColumnElement[bool], **values: Any) -> int:
    """Change schedules and put them out of step; answers how many."""
    changed = {"revision": schedules.c.revision + 1, "updated_at": now(), **values}
    return tx.execute(update(schedules).where(which).values(changed)).rowcount


# --- keeping Temporal in step ----------------------------------------------------------------


def told(tx: Tx, row: ScheduleRow) -> bool:
    """Note that Temporal has this revision; False when there is a newer one by now.

    A deleted schedule is gone with that.
    """
    this = (schedules.c.id == row.id) & (schedules.c.revision == row.revision)
    if row.deleted_at is not None:
        return tx.execute(delete(schedules).where(this)).rowcount == 1
    noted = update(schedules).where(this).values(synced=row.revision)
    return tx.execute(noted).rowcount == 1


def out_of_step(tx: Tx, before: int, limit: int) -> list[str]:
    """Ids of schedules that Temporal has not heard of as they are, unchanged since this time."""
    rows = tx.execute(
        select(schedules.c.id)
        .where(_OUT_OF_STEP, schedules.c.updated_at < before)
        .order_by(schedules.c.updated_at, schedules.c.id)
        .limit(limit)
    )
    return list(rows.scalars())


def out_of_step_of_workflow(tx: Tx, workflow_id: str) -> list[str]:
    """The same of one workflow, however young."""
    rows = tx.execute(
        select(schedules.c.id).where(_OUT_OF_STEP, schedules.c.workflow_id == workflow_id)
    )
    return list(rows.scalars())


def in_step_after(tx: Tx, after: str, limit: int) -> list[ScheduleRow]:
    """Schedules that Temporal should have as they are, by id, beyond the one that is given."""
    rows = tx.execute(
        _SELECT.where(
            schedules.c.id > after,
            schedules.c.revision == schedules.c.synced,
            schedules.c.deleted_at.is_(None),
            or_(schedules.c.run_at.is_(None), PENDING),
        )
        .order_by(schedules.c.id)
        .limit(limit)
    )
    return [_row(row) for row in rows]


def known(tx: Tx, ids: Collection[str]) -> set[str]:
    """Those of the ids that belong to a schedule, deleted or not."""
    return set(tx.execute(select(schedules.c.id).where(schedules.c.id.in_(ids))).scalars())


def _columns(terms: Terms) -> dict[str, Any]:
    return {
        "cron_expression": terms.cron_expression,
        "timezone": terms.timezone,
        "input": encode(terms.input),
        "overlap": terms.overlap,
        "catchup_window": terms.catchup_window,
        "paused": terms.paused,
        "note": terms.note,
    }


def _row(row: Row[Any]) -> ScheduleRow:
    return ScheduleRow(
        id=row.id,
        org_id=row.org_id,
        workflow_id=row.workflow_id,
        active=bool(row.active),
        terms=Terms(
            cron_expression=row.cron_expression or "",
            timezone=row.timezone,
            input=decode_object(row.input),
            overlap=Overlap(row.overlap),
            catchup_window=row.catchup_window,
            paused=row.paused,
            note=row.note,
        ),
        revision=row.revision,
        synced=row.synced,
        created_at=row.created_at,
        updated_at=row.updated_at,
        deleted_at=row.deleted_at,
        last_run_at=row.last_run_at,
        run_at=row.run_at,
        over=any(at is not None for at in (row.deleted_at, row.fired_at, row.canceled_at)),
    )
