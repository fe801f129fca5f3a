"""Starts at one time in the future: schedules that fire once.

Temporal keeps their time as it does that of the others. Whether a run comes of it is decided when
they fire: the workflow may have been disabled by then. Source: contracts A-4.
"""

from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue
from sqlalchemy import Row, select

from engine.book import Due
from engine.errors import Conflict, NotFound
from engine.lifecycle import DefinitionStatus
from engine.schedule import Overlap
from store import runs
from store import schedules as schedule_rows
from store import workflows as workflow_rows
from store.clock import now
from store.database import Tx
from store.ids import new_id
from store.runs import NewRun
from store.schedules import PENDING, ScheduleRow
from store.tables import schedules
from store.values import decode_object, encode

#: Seconds, a year: a start that was missed is late and not lost.
_CATCHUP = 31_536_000


@dataclass(frozen=True)
class OneOff:
    """A start at one time. Times are microseconds UTC.

    Attributes:
        fired_at: when a run came of it.
        canceled_at: when it was given up; `cancel_reason` says why.
    """

    id: str
    workflow_id: str
    input: dict[str, JsonValue]
    run_at: int
    fired_at: int | None
    canceled_at: int | None
    cancel_reason: str | None
    created_at: int
    updated_at: int


def create(
    tx: Tx, org_id: str, workflow_id: str, run_at: int, input: dict[str, JsonValue]
) -> OneOff:
    """A start of the workflow, which the caller has got, at this time: a whole second."""
    schedule_id, at = new_id(), now()
    tx.execute(
        schedules.insert().values(
            id=schedule_id,
            org_id=org_id,
            workflow_id=workflow_id,
            run_at=run_at,
            timezone="UTC",
            input=encode(input),
            overlap=Overlap.ALLOW_ALL,
            catchup_window=_CATCHUP,
            created_at=at,
            updated_at=at,
        )
    )
    return get(tx, org_id, schedule_id)


def get(tx: Tx, org_id: str, schedule_id: str) -> OneOff:
    """The start.

    Raises:
        NotFound: there is none, or it is another organisation's.
    """
    row = tx.execute(
        select(schedules).where(
            schedules.c.id == schedule_id,
            schedules.c.org_id == org_id,
            schedules.c.run_at.is_not(None),
        )
    ).one_or_none()
    if row is None:
        raise NotFound("Schedule not found.", code="schedule_not_found")
    return _row(row)


def cancel(tx: Tx, org_id: str, schedule_id: str) -> OneOff:
    """Give the start up; a second time changes nothing.

    Raises:
        NotFound: there is no such start in the organisation.
        Conflict: it has fired.
    """
    get(tx, org_id, schedule_id)
    give_up(tx, schedule_id, "requested")
    row = get(tx, org_id, schedule_id)
    if row.fired_at is not None:
        raise Conflict("The schedule has fired already.", code="schedule_fired")
    return row


def give_up(tx: Tx, schedule_id: str, reason: str) -> None:
    """Note that no run comes of it any more, unless one has."""
    which = (schedules.c.id == schedule_id) & PENDING
    schedule_rows.change(tx, which, canceled_at=now(), cancel_reason=reason)


def fire(tx: Tx, due: Due, schedule: ScheduleRow) -> bool:
    """Let the start become a run; False when it is given up because of its workflow, or over.

    Whoever comes second finds it over, so it becomes one run however often it is made.
    """
    workflow = workflow_rows.held(tx, schedule.org_id, schedule.workflow_id)
    if workflow is None or workflow.status != DefinitionStatus.ACTIVE:
        archived = workflow is not None and workflow.status == DefinitionStatus.ARCHIVED
        give_up(tx, schedule.id, "workflow_archived" if archived else "workflow_disabled")
        return False
    if not schedule_rows.change(tx, (schedules.c.id == schedule.id) & PENDING, fired_at=now()):
        return False
    runs.accept(
        tx,
        NewRun(
            id=due.run,
            org_id=schedule.org_id,
            workflow_id=workflow.id,
            workflow_name=workflow.name,
            version=workflow.version,
            surface="run_by_name",
            trigger="schedule",
            input=schedule.terms.input,
            schedule_id=schedule.id,
            scheduled_at=schedule.run_at,
            temporal_id=due.temporal_id,
        ),
    )
    return True


def overdue(tx: Tx, before: int, limit: int) -> list[ScheduleRow]:
    """What should have fired before this time and has not, oldest first."""
    ids = tx.execute(
        select(schedules.c.id)
        .where(PENDING, schedules.c.run_at < before)
        .order_by(schedules.c.run_at)
        .limit(limit)
    ).scalars()
    found = [schedule_rows.by_id(tx, schedule_id) for schedule_id in ids]
    return [row for row in found if row is not None]


def _row(row: Row[Any]) -> OneOff:
    return OneOff(
        id=row.id,
        workflow_id=row.workflow_id,
        input=decode_object(row.input),
        run_at=row.run_at,
        fired_at=row.fired_at,
        canceled_at=row.canceled_at,
        cancel_reason=row.cancel_reason,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
