"""A start by a schedule becomes a run here, in the first call of its execution to the ledger.

Temporal keeps starts of a schedule apart by its overlap policy, as long as it knows the executions:
those that it started itself. A run that was resumed is carried out by an execution of our own, so
the policy is applied to it here. Source: DESIGN §3, "Schedules".
"""

from dataclasses import dataclass, field

from sqlalchemy import bindparam, select

from engine.book import Due
from engine.lifecycle import RunStatus
from engine.schedule import Overlap
from store import executions, one_offs, runs, schedules, workflows
from store.clock import SECOND
from store.database import Tx
from store.places import LIVE, Execution
from store.runs import NewRun
from store.schedules import ScheduleRow
from store.tables import runs as run_table

#: Temporal's own latency, beyond the window in which a missed start is still made.
_SLACK = 10 * SECOND
#: Open runs of a schedule, and the number of the execution of each.
_OPEN = select(run_table.c.id, run_table.c.n).where(
    run_table.c.schedule_id == bindparam("schedule"),
    run_table.c.status.in_(LIVE),
    run_table.c.id != bindparam("run"),
)


@dataclass(frozen=True)
class Opening:
    """What became of a start: `open`, `over` or `wait`, as `engine.book.DueOpened` has it.

    Attributes:
        handed: executions that were given a place meanwhile and have to be told.
    """

    state: str
    handed: list[Execution] = field(default_factory=list)


def open_runs(tx: Tx, schedule_id: str) -> list[tuple[str, int]]:
    """The schedule's runs that are queued or running, and the number of the execution of each."""
    return [(row.id, row.n) for row in tx.execute(_OPEN, {"schedule": schedule_id, "run": ""})]


def open_start(tx: Tx, due: Due, places: int) -> Opening:
    """Write the run that the start is to be, if it is to be one; repeating it changes nothing.

    There is none when the schedule is gone or its workflow is not active any more, or when the
    overlap policy says so.
    """
    if runs.by_id(tx, due.run) is not None:
        return Opening("open")
    schedule = schedules.by_id(tx, due.schedule)
    if schedule is None or schedule.over:
        return Opening("over")
    if schedule.run_at is not None:
        return Opening("open" if one_offs.fire(tx, due, schedule) else "over")
    if not schedule.active:
        return Opening("over")
    opening = _among_others(tx, due, schedule, places)
    if opening.state == "open":
        workflow = workflows.get(tx, schedule.org_id, schedule.workflow_id)
        runs.accept(
            tx,
            NewRun(
                id=due.run,
                org_id=schedule.org_id,
                workflow_id=workflow.id,
                workflow_name=workflow.name,
                version=workflow.version,
                surface="full_engine",
                trigger="schedule",
                input=schedule.terms.input,
                schedule_id=schedule.id,
                scheduled_at=due.at,
                temporal_id=due.temporal_id,
            ),
        )
    return opening


def _among_others(tx: Tx, due: Due, schedule: ScheduleRow, places: int) -> Opening:
    """What the overlap policy says, given the open runs that Temporal may not know of."""
    if due.at < due.began - schedule.terms.catchup_window * SECOND - _SLACK:
        # Temporal makes no start as late as this: it is of a backfill, which has its own policy.
        return Opening("open")
    others = tx.execute(_OPEN, {"schedule": schedule.id, "run": due.run}).all()
    resumed = [other.id for other in others if other.n > 1]
    match schedule.terms.overlap:
        case Overlap.SKIP:
            return Opening("over" if resumed else "open")
        case Overlap.BUFFER_ONE | Overlap.BUFFER_ALL:
            return Opening("wait" if resumed else "open")
        case Overlap.CANCEL_OTHER:
            return Opening(_cancel(tx, schedule.org_id, resumed))
        case Overlap.TERMINATE_OTHER:
            state = _cancel(tx, schedule.org_id, resumed)
            ended = [other.id for other in others if other.n == 1]
            return Opening(state, _close(tx, ended, places) if state == "open" else [])
        case Overlap.ALLOW_ALL:
            return Opening("open")


def _cancel(tx: Tx, org_id: str, resumed: list[str]) -> str:
    """Ask the runs to end; the sweeper tells their executions."""
    states = [executions.cancel(tx, org_id, run_id).status for run_id in resumed]
    return "wait" if any(state in LIVE for state in states) else "open"


def _close(tx: Tx, ended: list[str], places: int) -> list[Execution]:
    """Close runs whose executions Temporal has terminated before it made this start."""
    handed: list[Execution] = []
    for run_id in ended:
        handed += executions.close_execution(tx, run_id, 1, RunStatus.CANCELLED, places)
    return handed
