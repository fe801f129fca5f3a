"""Runs: accepted here, dispatched and swept from what is found here.

What an execution does to its run (open, close, pause, cancel, resume) is in `store.executions`.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import JsonValue
from sqlalchemy import ColumnElement, Executable, Row, Select, bindparam, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from engine.book import execution_id
from engine.errors import Conflict, NotFound
from engine.lifecycle import EventType, Intent, RunStatus
from store import events
from store.clock import now
from store.database import Tx
from store.events import NewEvent
from store.ids import new_id
from store.tables import runs
from store.values import decode, decode_object, encode

# Built once: making a statement costs more than carrying it out.
_BY_ID = select(runs).where(runs.c.id == bindparam("run"))
_GET = _BY_ID.where(runs.c.org_id == bindparam("org"))
_DISPATCHED = (
    update(runs)
    .where(
        runs.c.id == bindparam("run"),
        runs.c.n == bindparam("execution"),
        runs.c.dispatched_at.is_(None),
    )
    .values(dispatched_at=bindparam("at"))
)
#: What may be a megabyte long, and a list of runs does not show.
_DATA = ("input", "output")
LIST_COLUMNS = [column for column in runs.c if column.name not in _DATA]


@dataclass(frozen=True)
class RunHead:
    """A run without its input and its output, as lists show it. Times are microseconds UTC."""

    id: str
    org_id: str
    workflow_id: str
    workflow_name: str
    version: int
    surface: str
    trigger: str
    status: RunStatus
    intent: Intent | None
    n: int
    temporal_id: str
    from_step: str | None
    output_blob: str | None
    error: dict[str, JsonValue] | None
    admitted: bool
    queued_at: int
    dispatched_at: int | None
    seq: int
    created_at: int
    started_at: int | None
    completed_at: int | None
    updated_at: int
    parked: bool
    parkings: int
    parent_run_id: str | None
    parent_step_id: str | None
    parent_iteration: str | None
    awaited: bool
    depth: int
    schedule_id: str | None
    scheduled_at: int | None
    event_id: str | None
    lanes: int | None


@dataclass(frozen=True)
class RunRow(RunHead):
    """A run, as `store.tables.runs` describes it."""

    input: dict[str, JsonValue]
    output: JsonValue


@dataclass(frozen=True)
class Wanted:
    """Which runs a list is to have; what is None or empty does not matter.

    Attributes:
        workflow_ids: of any of these workflows; none of them when it is empty.
        created_after: microseconds UTC, itself included; `created_before` as well.
    """

    workflow_id: str | None = None
    workflow_ids: Collection[str] | None = None
    statuses: Sequence[RunStatus] = ()
    trigger: str | None = None
    created_after: int | None = None
    created_before: int | None = None


@dataclass(frozen=True)
class Parent:
    """The step that starts a run.

    Attributes:
        iteration: the index in each loop around the step, as in `3.0`; empty at the top.
        awaited: the step waits for the run's end.
        depth: how many runs started one another before the new one.
    """

    run_id: str
    step_id: str
    iteration: str
    awaited: bool
    depth: int


@dataclass(frozen=True)
class NewRun:
    """What a run is accepted with.

    Attributes:
        version: the version of the workflow that the run keeps to.
        surface: the surface that it was started on.
        trigger: what started it: `manual`, `api`, `schedule`, `event` and the like.
        id: given where the same run may be accepted twice, and made otherwise.
        schedule_id: the schedule that started it, with the time that it was due and the workflow
            id that its first execution has in Temporal already.
        parent: what started it, where that is a step of another run.
        event_id: the published event that started it.
        depth: how many runs started one another before it, through events; `parent` has its own.
        lanes: how many entities it is for, where it is a batch.
    """

    org_id: str
    workflow_id: str
    workflow_name: str
    version: int
    surface: str
    trigger: str
    input: dict[str, JsonValue]
    id: str | None = None
    schedule_id: str | None = None
    scheduled_at: int | None = None
    temporal_id: str | None = None
    parent: Parent | None = None
    event_id: str | None = None
    depth: int = 0
    lanes: int | None = None


def accept(tx: Tx, new: NewRun) -> RunRow:
    """Write the queued run and its first event. A run that is there already stays as it is.

    Raises:
        Conflict: The id that was given belongs to a run of another organisation.
    """
    run_id = new.id or new_id()
    at = now()
    parent = new.parent
    row = tx.execute(
        _accepting(tx.dialect.name),
        {
            "id": run_id,
            "org_id": new.org_id,
            "workflow_id": new.workflow_id,
            "workflow_name": new.workflow_name,
            "version": new.version,
            "surface": new.surface,
            "trigger": new.trigger,
            "input": encode(new.input),
            "status": RunStatus.QUEUED,
            "n": 1,
            "temporal_id": new.temporal_id or execution_id(run_id, 1),
            "admitted": False,
            "queued_at": at,
            "dispatched_at": at if new.temporal_id else None,
            "schedule_id": new.schedule_id,
            "scheduled_at": new.scheduled_at,
            "seq": 0,
            "created_at": at,
            "updated_at": at,
            "parent_run_id": parent.run_id if parent else None,
            "parent_step_id": parent.step_id if parent else None,
            "parent_iteration": parent.iteration if parent else None,
            "awaited": parent is not None and parent.awaited,
            "depth": parent.depth if parent else new.depth,
            "event_id": new.event_id,
            "lanes": new.lanes,
        },
    ).one_or_none()
    if row is not None:
        events.append(tx, run_id, [NewEvent(EventType.RUN_QUEUED)])
    accepted = by_id(tx, run_id)
    if accepted is None or accepted.org_id != new.org_id:
        raise Conflict("The run's id is taken.", code="run_id_taken")
    return accepted


@cache
def _accepting(dialect: str) -> Executable:
    insert = sqlite.insert if dialect == "sqlite" else postgresql.insert
    return insert(runs).on_conflict_do_nothing(index_elements=["id"]).returning(runs.c.id)


def get(tx: Tx, org_id: str, run_id: str) -> RunRow:
    """The run.

    Raises:
        NotFound: There is none, or it is another organisation's.
    """
    row = tx.execute(_GET, {"run": run_id, "org": org_id}).one_or_none()
    if row is None:
        raise NotFound("There is no such run.", code="run_not_found")
    return _row(row)


def by_id(tx: Tx, run_id: str) -> RunRow | None:
    """The run of any organisation: for the worker and the sweeper, never for a request."""
    row = tx.execute(_BY_ID, {"run": run_id}).one_or_none()
    return None if row is None else _row(row)


def page(
    tx: Tx, org_id: str, wanted: Wanted, *, limit: int, offset: int
) -> tuple[list[RunHead], int]:
    """A page of the organisation's runs, newest first, and how many there are in all."""
    conditions = [runs.c.org_id == org_id, *_conditions(wanted)]
    rows = tx.execute(
        select(*LIST_COLUMNS)
        .where(*conditions)
        .order_by(runs.c.created_at.desc(), runs.c.id.desc())
        .limit(limit)
        .offset(offset)
    )
    total = tx.execute(select(func.count()).select_from(runs).where(*conditions)).scalar_one()
    return [head_of(row) for row in rows], total


def _conditions(wanted: Wanted) -> Iterator[ColumnElement[bool]]:
    if wanted.workflow_id is not None:
        yield runs.c.workflow_id == wanted.workflow_id
    if wanted.workflow_ids is not None:
        yield runs.c.workflow_id.in_(wanted.workflow_ids)
    if wanted.statuses:
        yield runs.c.status.in_(wanted.statuses)
    if wanted.trigger is not None:
        yield runs.c.trigger == wanted.trigger
    if wanted.created_after is not None:
        yield runs.c.created_at >= wanted.created_after
    if wanted.created_before is not None:
        yield runs.c.created_at <= wanted.created_before


def dispatched(tx: Tx, run_id: str, n: int) -> None:
    """Note that Temporal has the execution; the first time counts, and no older execution does."""
    tx.execute(_DISPATCHED, {"run": run_id, "execution": n, "at": now()})


def undispatched(tx: Tx, before: int, limit: int) -> list[RunRow]:
    """Queued runs that Temporal was never seen to take, untouched since before this time.

    It goes by the last change, not by the place in the line: a resumed run keeps an old place
    and is dispatched a moment later by whoever resumed it.
    """
    return _oldest(
        tx,
        select(runs).where(
            runs.c.status == RunStatus.QUEUED,
            runs.c.dispatched_at.is_(None),
            runs.c.updated_at < before,
        ),
        limit,
    )


def open_runs(tx: Tx, updated_before: int, after: str, limit: int) -> list[RunRow]:
    """Queued and running runs that have not changed since, by id.

    Args:
        tx: The transaction.
        updated_before: Microseconds UTC.
        after: Only runs whose id is greater; empty for the first.
        limit: How many to answer at most.
    """
    rows = tx.execute(
        select(runs)
        .where(
            runs.c.status.in_([RunStatus.QUEUED, RunStatus.RUNNING]),
            runs.c.updated_at < updated_before,
            runs.c.id > after,
        )
        .order_by(runs.c.id)
        .limit(limit)
    )
    return [_row(row) for row in rows]


def with_intent(tx: Tx, limit: int) -> list[RunRow]:
    """Runs that were asked for something that has not happened yet."""
    return _oldest(tx, select(runs).where(runs.c.intent.is_not(None)), limit)


def _oldest(tx: Tx, query: Select[Any], limit: int) -> list[RunRow]:
    ordered = query.order_by(runs.c.updated_at, runs.c.id).limit(limit)
    return [_row(row) for row in tx.execute(ordered)]


def head_of(row: Row[Any]) -> RunHead:
    """A row of `LIST_COLUMNS`, as this room passes it on."""
    return RunHead(**_head(row))


def _row(row: Row[Any]) -> RunRow:
    return RunRow(
        **_head(row),
        input=decode_object(row.input),
        output=None if row.output is None else decode(row.output),
    )


def _head(row: Row[Any]) -> dict[str, Any]:
    fields = {name: value for name, value in row._asdict().items() if name not in _DATA}
    fields["status"] = RunStatus(row.status)
    fields["intent"] = None if row.intent is None else Intent(row.intent)
    fields["error"] = None if row.error is None else decode_object(row.error)
    return fields
