"""The executions of a run: opening, ending, and what operators and the sweeper do to them.

Whatever ends an execution frees its place and hands it on in the same transaction, as
`store.places` says; what else an end brings with it is in `store.endings`. Source: DESIGN §3.
"""

from collections import OrderedDict
from dataclasses import dataclass, replace

from pydantic import JsonValue
from sqlalchemy import and_, bindparam, func, or_, select, update

from engine.book import execution_id
from engine.catalog import Catalog
from engine.definition import Definition
from engine.errors import Conflict
from engine.facts import Facts, Failure
from engine.lifecycle import RESUMABLE, TERMINAL, EventType, Intent, RunStatus
from engine.plan import Plan, compile_plan
from engine.settle import Recorded
from engine.settle import resume as resume_facts
from store import batches, endings, events, journal, steps, workflows
from store import runs as run_rows
from store.clock import now
from store.database import Tx
from store.endings import close_execution as close_execution
from store.places import LIVE, hand_on, lock, lock_of, pass_on, room_for
from store.places import Execution as Execution
from store.runs import RunRow
from store.tables import runs

# Built once: making a statement costs more than carrying it out.
_LOCK_RUN = select(runs.c.id).where(runs.c.id == bindparam("run")).with_for_update(key_share=True)
_BEGIN = (
    update(runs)
    .where(
        runs.c.id == bindparam("run"),
        runs.c.n == bindparam("execution"),
        runs.c.status == RunStatus.QUEUED,
        runs.c.admitted == bindparam("has_place"),
    )
    .values(
        status=RunStatus.RUNNING,
        admitted=True,
        started_at=func.coalesce(runs.c.started_at, bindparam("at")),
        completed_at=None,
        updated_at=bindparam("at"),
    )
    .returning(runs.c.id)
)


@dataclass(frozen=True)
class Opening:
    """What an execution finds when it asks to begin.

    Attributes:
        state: `over` when the run needs no execution (any more); `queued` when it has to wait.
        handed: executions that were given a place meanwhile and have to be told.
        pinned: the workflow and the version that the run keeps to.
    """

    state: str
    handed: list[Execution]
    pinned: tuple[str, int] | None = None
    plan: Plan | None = None
    facts: Facts | None = None


def open_execution(tx: Tx, run_id: str, n: int, limit: int, catalog: Catalog) -> Opening:
    """Begin an execution if there is a place for it; repeating it changes nothing."""
    row = _open_row(tx, run_id, n)
    if row is None:
        return Opening("over", [])
    handed: list[Execution] = []
    if row.status is RunStatus.QUEUED:
        if not row.admitted and not room_for(tx, row, limit):
            handed = hand_on(tx, row.org_id, limit)
            own = Execution(run_id, n, row.temporal_id)
            if own not in handed:
                return Opening("queued", handed)
            handed.remove(own)
            row = replace(row, admitted=True)
        if not _begin(tx, row):
            # Somebody came between: given its place (it is told of that), begun, or over.
            row = _open_row(tx, run_id, n)
            if row is None or row.status is RunStatus.QUEUED:
                return Opening("over" if row is None else "queued", handed)
    plan = _plan(tx, row, catalog)
    facts = resume_facts(plan, recorded(tx, run_id)).facts if n > 1 else Facts()
    # Only one that Temporal has forgotten begins again in the middle of a wait.
    facts.parked = row.status is RunStatus.RUNNING and (row.parked or not row.admitted)
    facts.parkings = row.parkings
    return Opening("admitted", handed, (row.workflow_id, row.version), plan, facts)


def _open_row(tx: Tx, run_id: str, n: int) -> RunRow | None:
    row = run_rows.by_id(tx, run_id)
    return row if row is not None and row.n == n and row.status in LIVE else None


def _begin(tx: Tx, row: RunRow) -> bool:
    """Let the execution begin, unless its row is no longer as it was read."""
    values = {"run": row.id, "execution": row.n, "has_place": row.admitted, "at": now()}
    if tx.execute(_BEGIN, values).first() is None:
        return False
    events.append(tx, row.id, [events.NewEvent(EventType.RUN_STARTED, data={"execution": row.n})])
    return True


_KEPT = 256
#: Plans of the versions used last. A version never changes, and a process has one catalog.
_plans: OrderedDict[tuple[str, int], Plan] = OrderedDict()


def _plan(tx: Tx, row: RunRow, catalog: Catalog) -> Plan:
    key = (row.workflow_id, row.version)
    plan = _plans.get(key)
    if plan is None:
        text = workflows.definition_text(tx, *key)
        plan = _plans[key] = compile_plan(Definition.model_validate_json(text), catalog)
        if len(_plans) > _KEPT:
            _plans.popitem(last=False)
    return plan


def recorded(tx: Tx, run_id: str) -> dict[str, Recorded]:
    """What is known of the steps of the outermost scope, for a resume."""
    return {
        row.step_id: Recorded(
            row.status,
            row.generation,
            row.outcome,
            Failure(code=row.error["code"], message=row.error["message"], step=row.step_id)
            if row.error and "code" in row.error
            else None,
        )
        for row in steps.page_rows(tx, run_id)
    }


# --- what operators ask for ------------------------------------------------------------------


def cancel(tx: Tx, org_id: str, run_id: str) -> RunRow:
    """Cancel a run that is not over: at once when nothing of it runs, else as an intent.

    Raises:
        NotFound: there is no such run in the organisation.
        Conflict: the run has completed or failed.
    """
    row = locked(tx, org_id, run_id)
    if row.status is RunStatus.CANCELLED:
        return row
    if row.status in TERMINAL:
        raise Conflict(f"It has {row.status} and cannot be cancelled.")
    if row.status is RunStatus.RUNNING:
        return _intend(tx, row, Intent.CANCEL)
    at = now()
    tx.execute(
        update(runs)
        .where(runs.c.id == run_id)
        .values(
            status=RunStatus.CANCELLED,
            intent=None,
            admitted=False,
            completed_at=at,
            updated_at=at,
        )
    )
    below = endings.follow(tx, run_id, row.n, RunStatus.CANCELLED, row.started_at)
    # The sweeper tells whoever got one.
    pass_on(tx, org_id, row.admitted + below.freed)
    return run_rows.get(tx, org_id, run_id)


def pause(tx: Tx, org_id: str, run_id: str) -> RunRow:
    """Pause a run: at once while it is queued, between two steps when it runs.

    Raises:
        NotFound: there is no such run in the organisation.
        Conflict: the run is over, or is being cancelled.
    """
    row = locked(tx, org_id, run_id)
    if row.status is RunStatus.PAUSED:
        return row
    if row.status in TERMINAL or row.intent is Intent.CANCEL:
        raise Conflict(f"It is {row.intent or row.status} and cannot be paused.")
    if row.status is RunStatus.RUNNING:
        return _intend(tx, row, Intent.PAUSE)
    tx.execute(
        update(runs)
        .where(runs.c.id == run_id)
        .values(status=RunStatus.PAUSED, admitted=False, updated_at=now())
    )
    events.append(tx, run_id, [events.NewEvent(EventType.RUN_PAUSED)])
    if row.admitted:
        # The sweeper tells whoever got it.
        pass_on(tx, org_id)
    return run_rows.get(tx, org_id, run_id)


def locked(tx: Tx, org_id: str, run_id: str) -> RunRow:
    """The run as it stays until the transaction ends: nobody else changes it meanwhile.

    Raises:
        NotFound: there is no such run in the organisation.
    """
    run_rows.get(tx, org_id, run_id)
    lock(tx, org_id)
    tx.execute(_LOCK_RUN, {"run": run_id})
    return run_rows.get(tx, org_id, run_id)


def _intend(tx: Tx, row: RunRow, intent: Intent) -> RunRow:
    if row.intent is not intent:
        tx.execute(update(runs).where(runs.c.id == row.id).values(intent=intent, updated_at=now()))
    return run_rows.get(tx, row.org_id, row.id)


def resume(tx: Tx, org_id: str, run_id: str, from_step: str | None, catalog: Catalog) -> RunRow:
    """Queue the next execution of a run that is paused, failed or cancelled.

    Raises:
        NotFound: there is no such run in the organisation.
        Invalid: there is no step `from_step`.
        Conflict: the run is in another state, its input is not valid, what the step depends on has
            no result, or all entities of a batch are over.
    """
    batch = batches.lock(tx, run_id)
    row = locked(tx, org_id, run_id)
    if row.intent is Intent.TERMINATE:
        raise Conflict("It is still being terminated; try again.")
    if row.error is not None and row.error["code"] == endings.INPUT_INVALID:
        raise Conflict("Its input does not fit the input_schema of its workflow.")
    if row.status not in RESUMABLE:
        raise Conflict(f"It is {row.status}; only what is paused, failed or cancelled resumes.")
    if batch is not None and from_step is not None:
        raise Conflict("It goes on with the entities that are not over, not from a step.")
    waits = row.status is RunStatus.PAUSED or bool((row.error or {}).get("step"))
    if batch is not None and batch.open == 0 and not waits:
        raise Conflict("All of its entities are over. Those that have failed can be retried.")
    resumption = resume_facts(_plan(tx, row, catalog), recorded(tx, run_id), from_step)
    n = row.n + 1
    batches.renew(tx, run_id)
    tx.execute(
        update(runs)
        .where(runs.c.id == run_id)
        .values(
            status=RunStatus.QUEUED,
            n=n,
            temporal_id=execution_id(run_id, n),
            from_step=from_step,
            intent=None,
            admitted=False,
            parked=False,
            dispatched_at=None,
            completed_at=None,
            output=None,
            output_blob=None,
            error=None,
            updated_at=now(),
        )
    )
    journal.reset(tx, run_id, n, resumption.reset)
    told: dict[str, JsonValue] = {"execution": n}
    if from_step is not None:
        told["from_step"] = from_step
    events.append(tx, run_id, [events.NewEvent(EventType.RUN_RESUMED, data=told)])
    return run_rows.get(tx, org_id, run_id)


# --- what the sweeper finds ------------------------------------------------------------------


def admitted(tx: Tx, limit: int) -> list[Execution]:
    """Executions that were given a place and have not taken note: their signal may be lost."""
    rows = tx.execute(
        select(runs.c.id, runs.c.n, runs.c.temporal_id)
        .where(
            runs.c.admitted.is_(True),
            or_(
                runs.c.status == RunStatus.QUEUED,
                and_(runs.c.status == RunStatus.RUNNING, runs.c.parked.is_(True)),
            ),
        )
        .order_by(runs.c.queued_at)
        .limit(limit)
    )
    return [Execution(*row) for row in rows]


def lost(tx: Tx, run_id: str, n: int, reason: str, limit: int) -> list[Execution]:
    """End an execution that Temporal no longer has: cancelled where that was asked for.

    The executions that got its place.
    """
    lock_of(tx, run_id)
    tx.execute(_LOCK_RUN, {"run": run_id})
    row = run_rows.by_id(tx, run_id)
    cancelled = row is not None and row.intent is Intent.CANCEL
    status = RunStatus.CANCELLED if cancelled else RunStatus.FAILED
    error = None if cancelled else Failure(code="execution_lost", message=reason)
    return close_execution(tx, run_id, n, status, limit, error=error)
