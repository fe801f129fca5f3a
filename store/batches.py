"""Batches: what a run with a lane for each entity is accepted with, and how far it is.

Lock order on PostgreSQL: the batch first, then what `store.publishing` says. Source: DESIGN §2, §3.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any

from pydantic import JsonValue
from sqlalchemy import Row, bindparam, func, select, update

from engine.batch import LANE_OPEN, LaneStatus, OnBudget, progress_pause, window_size
from engine.errors import Invalid, Problem
from engine.facts import Failure
from engine.lifecycle import EventType, RunStatus, StepStatus
from engine.usage import Usage
from store import endings, events, runs
from store.batch_tables import batches, lanes
from store.clock import now
from store.database import Tx
from store.endings import Ended
from store.events import NewEvent
from store.record_tables import entities
from store.runs import NewRun, RunRow
from store.values import decode_object, encode

#: Ids that one query looks for, and rows that one statement writes.
_SOME = 500
#: Unknown ids that an error names; how many there are it always says.
_NAMED = 100
#: Characters of each.
_SHOWN = 100
#: Nothing else is the id of an entity, and PostgreSQL does not even take all of it as text.
_ID = re.compile("[0-9a-f]{32}")

_GET = select(batches).where(batches.c.run_id == bindparam("run"))
_LOCK = _GET.with_for_update()


@dataclass(frozen=True)
class NewBatch:
    """What a batch is accepted with, beside its run.

    Attributes:
        type_id: the type of the entities.
        entity_ids: distinct, in the order in which their lanes begin.
        concurrency: lanes that may be under way at the same time.
        max_failures: how many may fail before nothing more begins; None for all.
        on_budget: what becomes of the batch then.
        retry_of: the batch whose failed entities these are.
    """

    type_id: str
    entity_ids: Sequence[str]
    concurrency: int
    max_failures: int | None = None
    on_budget: OnBudget = "stop"
    retry_of: str | None = None


@dataclass(frozen=True)
class StepTally:
    """How many lanes have completed, failed at and left out a step."""

    completed: int = 0
    failed: int = 0
    skipped: int = 0

    @property
    def begun(self) -> bool:
        """Whether it was carried out for any lane."""
        return self.completed + self.failed > 0


@dataclass(frozen=True)
class BatchRow:
    """A batch, as `store.batch_tables` describes it. Times are microseconds UTC."""

    run_id: str
    type_id: str
    total: int
    completed: int
    failed: int
    steps: dict[str, StepTally]
    usage: Usage | None
    window_size: int
    concurrency: int
    max_failures: int | None
    on_budget: OnBudget
    retry_of: str | None
    began_at: int | None
    began_done: int
    began_failed: int
    halted: bool
    told_at: int | None
    told_done: int

    @property
    def done(self) -> int:
        """How many lanes are over."""
        return self.completed + self.failed

    @property
    def open(self) -> int:
        """How many lanes are not over."""
        return self.total - self.done

    def over_by(self, at: int) -> int | None:
        """When it will be over if it goes on as in this execution; None when nothing tells."""
        done = self.done - self.began_done
        if self.began_at is None or done <= 0 or at <= self.began_at:
            return None
        return at + (at - self.began_at) * self.open // done

    @property
    def counters(self) -> dict[str, JsonValue]:
        """What expressions know as `batch`, and the output of the run."""
        return {"total": self.total, "completed": self.completed, "failed": self.failed}


def accept(
    tx: Tx, run: NewRun, new: NewBatch, places: Mapping[str, int] = MappingProxyType({})
) -> RunRow:
    """Write the queued run with all of its lanes; `places` as in `require`.

    Raises:
        Invalid: Some of the entities are not there, or of another type; it names them.
    """
    require(tx, run.org_id, new.type_id, new.entity_ids, places)
    return add(tx, run, new)


def add(tx: Tx, run: NewRun, new: NewBatch) -> RunRow:
    """The same for entities that were seen already; what is gone by then fails in its lane."""
    total = len(new.entity_ids)
    row = runs.accept(tx, replace(run, lanes=total))
    tx.execute(
        batches.insert(),
        {
            "run_id": row.id,
            "type_id": new.type_id,
            "total": total,
            "window_size": window_size(total, new.concurrency),
            "concurrency": new.concurrency,
            "max_failures": new.max_failures,
            "on_budget": new.on_budget,
            "retry_of": new.retry_of,
        },
    )
    insert = lanes.insert()
    for start in range(0, total, _SOME):
        some = new.entity_ids[start : start + _SOME]
        rows = [
            {"run_id": row.id, "lane": lane, "entity_id": entity, "status": LaneStatus.PENDING}
            for lane, entity in enumerate(some, start)
        ]
        tx.execute(insert, rows)
    return row


def require(
    tx: Tx,
    org_id: str,
    type_id: str,
    entity_ids: Sequence[str],
    places: Mapping[str, int] = MappingProxyType({}),
) -> None:
    """See that all of these are entities of the type that were not deleted.

    Args:
        tx: The transaction.
        org_id: Whose entities they have to be.
        type_id: Of which type.
        entity_ids: What was asked for, which may be any text.
        places: Where each stands in the request, if not where it stands here.

    Raises:
        Invalid: Some are not; it names them.
    """
    missing = list(_missing(tx, org_id, type_id, entity_ids))
    if not missing:
        return
    problems = [
        Problem(
            f"There is no entity '{entity_id[:_SHOWN]}' of the workflow's type.",
            path=f"entityIds.{places.get(entity_id, place)}",
        )
        for place, entity_id in missing[:_NAMED]
    ]
    named = ", ".join(f"'{entity_id[:_SHOWN]}'" for _, entity_id in missing[:_NAMED])
    more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
    count = f"{len(missing)} of the entities are" if len(missing) > 1 else "One of the entities is"
    raise Invalid(f"{count} unknown or of another type: {named}{more}.", problems=problems)


def there(tx: Tx, org_id: str, type_id: str, entity_ids: Sequence[str]) -> list[str]:
    """Those of these that are entities of the type and were not deleted, in their order."""
    missing = {place for place, _ in _missing(tx, org_id, type_id, entity_ids)}
    return [entity for place, entity in enumerate(entity_ids) if place not in missing]


def _missing(
    tx: Tx, org_id: str, type_id: str, entity_ids: Sequence[str]
) -> Iterator[tuple[int, str]]:
    for start in range(0, len(entity_ids), _SOME):
        some = entity_ids[start : start + _SOME]
        # By the ids alone: given the type as well, SQLite would look through all that are of it.
        rows = tx.execute(
            select(
                entities.c.id, entities.c.org_id, entities.c.type_id, entities.c.archived_at
            ).where(entities.c.id.in_([one for one in some if _ID.fullmatch(one)]))
        )
        found = {row.id for row in rows if tuple(row)[1:] == (org_id, type_id, None)}
        for place, entity_id in enumerate(some, start):
            if entity_id not in found:
                yield place, entity_id


def get(tx: Tx, run_id: str) -> BatchRow | None:
    """The batch; None when the run is none."""
    row = tx.execute(_GET, {"run": run_id}).one_or_none()
    return None if row is None else _row(row)


def some(tx: Tx, run_ids: Sequence[str]) -> dict[str, BatchRow]:
    """Those of these runs that are batches, by id."""
    rows = tx.execute(select(batches).where(batches.c.run_id.in_(run_ids)))
    return {row.run_id: _row(row) for row in rows}


def lock(tx: Tx, run_id: str) -> BatchRow | None:
    """The batch as it stays until the transaction ends; None when the run is none, or deleted."""
    row = tx.execute(_LOCK, {"run": run_id}).one_or_none()
    return None if row is None else _row(row)


def begin(tx: Tx, run_id: str) -> tuple[BatchRow, int]:
    """Note that an execution has begun; the batch, and its first lane that is not over."""
    tx.execute(
        update(batches)
        .where(batches.c.run_id == run_id, batches.c.began_at.is_(None))
        .values(
            began_at=now(),
            began_done=batches.c.completed + batches.c.failed,
            began_failed=batches.c.failed,
            halted=False,
        )
    )
    row = tx.execute(_GET, {"run": run_id}).one()
    is_open = (lanes.c.run_id == run_id, lanes.c.status.in_(LANE_OPEN))
    first = tx.execute(select(func.min(lanes.c.lane)).where(*is_open)).scalar_one()
    return _row(row), row.total if first is None else first


def renew(tx: Tx, run_id: str) -> None:
    """Let the next execution begin with a budget of its own."""
    tx.execute(
        update(batches).where(batches.c.run_id == run_id).values(began_at=None, halted=False)
    )


def count(
    tx: Tx, batch: BatchRow, ended: Sequence[dict[str, StepStatus]], failed: int, spent: Usage
) -> BatchRow:
    """Count lanes that are over by now, each with how its steps ended; the batch as it is then.

    Args:
        tx: The transaction, which holds the lock of the batch.
        batch: As it was found under the lock.
        ended: For each lane what `engine.batch.tally` says.
        failed: How many of them have failed.
        spent: What lanes have asked of models.
    """
    usage = replace(batch.usage or Usage())
    usage.add(spent)
    tallies = {step: [one.completed, one.failed, one.skipped] for step, one in batch.steps.items()}
    place = {StepStatus.COMPLETED: 0, StepStatus.FAILED: 1}
    for steps in ended:
        for step, status in steps.items():
            tallies.setdefault(step, [0, 0, 0])[place.get(status, 2)] += 1
    all_failed = batch.failed + failed
    within = batch.max_failures is None or all_failed - batch.began_failed < batch.max_failures
    written = tx.execute(
        update(batches)
        .where(batches.c.run_id == batch.run_id)
        .values(
            completed=batch.completed + len(ended) - failed,
            failed=all_failed,
            steps=encode({step: [*tally] for step, tally in tallies.items()}),
            usage=encode(asdict(usage)) if usage else None,
            halted=batch.halted or not within,
        )
        .returning(batches)
    )
    return _row(written.one())


def tell_of(tx: Tx, batch: BatchRow, n: int, more: Mapping[str, JsonValue] | None = None) -> None:
    """Write the event that tells how far the batch is, with `more` that it tells.

    Args:
        tx: The transaction, which holds the lock of the batch.
        batch: As it is by now.
        n: The execution that carries the run out.
        more: What else there is to tell; None for a look in between.

    Raises:
        Conflict: The run is over, or another execution carries it out.
    """
    nothing: dict[str, JsonValue] = {
        "failed_here": 0,
        "failures": [],
        "noted_here": 0,
        "notes": [],
    }
    data = batch.counters | nothing | dict(more or {})
    events.append(tx, batch.run_id, [NewEvent(EventType.BATCH_PROGRESS, data=data)], execution=n)
    tx.execute(
        update(batches)
        .where(batches.c.run_id == batch.run_id)
        .values(told_at=now(), told_done=batch.done)
    )


def is_untold(batch: BatchRow) -> bool:
    """Whether it is time to tell how far the batch is."""
    if batch.done == batch.told_done or batch.began_at is None:
        return False
    at = now()
    since = max(batch.began_at, batch.told_at or 0)
    return at - since >= progress_pause((at - batch.began_at) / 1_000_000) * 1_000_000


def close(tx: Tx, run_id: str, n: int, how: str, limit: int, failure: Failure | None) -> Ended:
    """End an execution of a batch, as `engine.batch.BatchEnd` says; the first to come decides.

    A batch whose entities are all through has completed, unless every one has failed. One whose
    budget is used up is cancelled or paused, so that in one that has completed or failed no entity
    is left. Source: contracts §2.4, B-q10.
    """
    batch = lock(tx, run_id)
    if batch is None:
        return Ended()
    status, error = _ending(batch, how, failure)
    # Whatever was under way is so no more: it goes on with a resume.
    under_way = (lanes.c.run_id == run_id, lanes.c.status == LaneStatus.RUNNING)
    tx.execute(update(lanes).where(*under_way).values(status=LaneStatus.PENDING))
    output = batch.counters if status is RunStatus.COMPLETED else None
    return endings.end_execution(tx, run_id, n, status, limit, output=output, error=error)


def _ending(batch: BatchRow, how: str, failure: Failure | None) -> tuple[RunStatus, Failure | None]:
    if how in ("cancelled", "paused"):
        return RunStatus(how), None
    if batch.open == 0 and batch.failed == batch.total:
        return RunStatus.FAILED, _failure("all_entities_failed", "Every entity has failed.")
    if how == "after" and failure is not None:
        return RunStatus.FAILED, failure
    if batch.open == 0:
        return RunStatus.COMPLETED, None
    if how == "halted":
        failed = batch.failed - batch.began_failed
        used = _failure("error_budget_exceeded", f"{failed} entities have failed.")
        return RunStatus.PAUSED if batch.on_budget == "pause" else RunStatus.CANCELLED, used
    return RunStatus.FAILED, failure or _failure(
        "worker_lost", "A window could not be carried out."
    )


def _failure(code: str, message: str) -> Failure:
    return Failure(code=code, message=message, retryable=False)


def _row(row: Row[Any]) -> BatchRow:
    values = row._asdict()
    steps: dict[str, Any] = decode_object(values["steps"])
    decoded = {
        "steps": {step: StepTally(*found) for step, found in steps.items()},
        "usage": Usage(**json.loads(row.usage)) if row.usage else None,
    }
    return BatchRow(**values | decoded)
