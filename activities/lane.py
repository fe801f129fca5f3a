"""One lane of a batch: the steps of its definition for one entity.

What may happen next is decided by `engine.progress`, as in a run; here it is done, one step after
the other. A step that decides only is not recorded on its own: whoever goes on with the lane lets
it decide again. What a step outside has answered is committed before the next one begins, with what
becomes of the entity.
"""

import asyncio
import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from pydantic import JsonValue

from activities.attempt import failure_of
from activities.base import AnyStepType
from activities.definitions import Prepared, Version
from activities.doing import Desk, Doing, micros
from activities.lane_log import LaneLog
from engine.batch import LaneStatus, Note, tally
from engine.call import StepCall
from engine.diff import same
from engine.errors import Invalid, StepError
from engine.facts import Facts, Failure
from engine.lifecycle import StepStatus
from engine.moves import Start, Verdict
from engine.outcomes import Branch, Done, EntityChange, Outcome, Skip
from engine.plan import Plan
from engine.progress import advance
from engine.settle import fail, settle
from engine.usage import Usage
from store import blobs, entities
from store.entities import EntityRow
from store.entity_types import TypeRow
from store.lanes import LaneRow, Move
from store.runs import RunRow
from store.values import encode

#: Characters of a message that a lane keeps of a step that it went on after.
_NOTED = 500


class Stop:
    """Whether lanes are to begin nothing more, and why: `paused`, `halted`, `over` or `leaving`."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self._asked = asyncio.Event()

    def ask(self, reason: str) -> None:
        """Have every lane stop before its next step; the first reason counts."""
        self.reason = self.reason or reason
        self._asked.set()

    async def pause(self, until: float) -> None:
        """Wait until this time (seconds since 1970), or until it is asked for."""
        try:
            async with asyncio.timeout(max(0.0, until - time.time())):
                await self._asked.wait()
        except TimeoutError:
            pass


@dataclass(frozen=True)
class Order:
    """What the lanes of a window have in common.

    Attributes:
        kind: the type of the entities; None when it was deleted, and they with it.
        plan: of a lane, see `engine.batch.lane_plan`.
        told: the variables of expressions that are the same in every lane.
        waits: whether a lane that has failed waits until that is counted, so that a budget holds.
    """

    run: RunRow
    kind: TypeRow | None
    plan: Plan
    version: Version
    types: Mapping[str, AnyStepType]
    desk: Desk
    log: LaneLog
    stop: Stop
    told: Mapping[str, JsonValue]
    waits: bool


class Lane:
    """One lane, from where its row says that it stands."""

    def __init__(self, order: Order, row: LaneRow, entity: EntityRow | None) -> None:
        self._order = order
        self._row = row
        self._entity = entity
        self._fields = dict(entity.fields) if entity is not None else {}
        self._facts = row.facts or Facts()
        self._outputs = dict(row.outputs)
        self._notes = list(row.notes)
        self._attempts = row.attempts
        self._started_at = row.started_at or micros()
        #: What becomes of the entity, and what models were asked, as far as it is not committed.
        self._change = EntityChange()
        self._usage = Usage()
        self._shown_running = row.status is LaneStatus.RUNNING
        for fact in self._facts.steps.values():
            if fact.status is StepStatus.RUNNING:
                # Nobody knows how that has ended; it is done again under the same key.
                fact.status = StepStatus.PENDING

    async def carry_out(self) -> bool:
        """Go on until the lane is over; whether it is: it stops between two steps when asked to.

        Raises:
            RunClosedError: the run is past this.
        """
        if self._entity is None or self._order.kind is None:
            gone = Failure(code="entity_not_found", message="The entity was deleted.")
            await self._end(Verdict.FAILED, gone)
            return True
        stop = self._order.stop
        while True:
            stopping = stop.reason is not None
            found = advance(self._order.plan, self._facts, time.time(), draining=stopping)
            for move in found.moves:
                if isinstance(move, Start) and stop.reason is None:
                    await self._perform(move)
            if found.verdict is not None:
                # One whose last step was under way is over, although it was asked to stop.
                await self._end(found.verdict, found.failure)
                return True
            if not found.moves:
                if stopping:
                    return False
                await stop.pause(found.wake_at or 0.0)

    async def _perform(self, move: Start) -> None:
        step, fact = move.step, move.fact
        order = self._order
        step_type, prepared = order.types[step.type], order.version.steps[step.id]
        attempt = fact.failures + 1
        call = StepCall(
            run=order.run.id,
            n=order.run.n,
            step=step.id,
            iteration=[self._row.lane],
            attempt=attempt,
            final=attempt >= step.attempts,
            now=time.time(),
        )
        doing = Doing(order.desk, call, step_type, prepared, order.run.org_id)
        self._attempts += 1
        try:
            # A database that is away delays this lane, and disturbs no other one.
            outcome = await order.desk.patiently(
                call, lambda: doing.run(self._scope(prepared), lambda: self._show(step.id))
            )
            outcome = await doing.secrets.outcome(outcome)
            self._take(step.id, outcome)
        except StepError as error:
            self._usage.add(doing.usage)
            fail(step, fact, failure_of(doing.secrets.error(error), step.id), time.time())
            if fact.status is StepStatus.WAITING:
                await order.log.note(self._moved(step.id))
            elif fact.failure is not None:
                self._note(step.id, fact.failure.message, fact.failure.code)
            return
        self._usage.add(doing.usage)
        settle(fact, outcome)
        if step_type.lane != "decides":
            await order.log.put(self._moved(step.id))

    def _scope(self, prepared: Prepared) -> dict[str, JsonValue]:
        assert self._entity is not None
        assert self._order.kind is not None
        return {
            **self._order.told,
            "entity": {
                "id": self._entity.id,
                "type": self._order.kind.name,
                "fields": copy.deepcopy(self._fields),
            },
            "steps": {step_id: self._see(step_id) for step_id in prepared.needs},
        }

    def _see(self, step_id: str) -> JsonValue:
        """A step of the lane as expressions see it; source: `activities.scopes.see`."""
        fact = self._facts.steps.get(step_id)
        failure = fact.failure if fact is not None and fact.status is StepStatus.FAILED else None
        return {
            "status": str(fact.status if fact is not None else StepStatus.PENDING),
            "output": self._outputs.get(step_id),
            "error": {"code": failure.code, "message": failure.message} if failure else None,
        }

    def _take(self, step_id: str, outcome: Outcome) -> None:
        """Take in what the step has answered.

        Raises:
            StepError: it cannot be kept; nothing was taken in.
        """
        if not isinstance(outcome, Done | Skip | Branch):
            raise StepError(
                "not_for_batches", f"Step '{step_id}' cannot be a step of a batch.", retryable=False
            )
        if isinstance(outcome, Skip):
            self._note(step_id, outcome.reason)
            return
        try:
            size = len(encode(outcome.output).encode())
        except (Invalid, RecursionError) as error:
            why = error.message if isinstance(error, Invalid) else "It is nested too deep."
            raise StepError(
                "output_invalid", f"The output of step '{step_id}': {why}", retryable=False
            ) from error
        if size > blobs.INLINE:
            raise StepError(
                "output_too_large",
                f"The output of step '{step_id}' is over {blobs.INLINE // 1024} KiB, which is the "
                "most in a batch.",
                retryable=False,
            )
        if isinstance(outcome, Done) and outcome.entity is not None:
            self._change_entity(outcome.entity)
        self._outputs[step_id] = outcome.output

    def _note(self, step_id: str, message: str, code: str | None = None) -> None:
        self._notes.append(Note(step_id=step_id, code=code, message=message[:_NOTED]))

    def _change_entity(self, change: EntityChange) -> None:
        # What stays as the lane has found it is not its own: somebody else may change it meanwhile.
        changed = {
            key: value
            for key, value in change.fields.items()
            if not same(self._fields.get(key), value)
        }
        fields = entities.without_nulls(self._fields | changed)
        assert self._order.kind is not None
        try:
            entities.check(self._order.kind, fields)
        except Invalid as error:
            told = "; ".join(problem.message for problem in error.problems[:3]) or error.message
            raise StepError("entity_invalid", told, retryable=False) from error
        self._fields = fields
        self._change = EntityChange(
            fields=self._change.fields | changed,
            published=self._change.published or change.published,
        )

    async def _show(self, step_id: str) -> None:
        """Have others see that the lane is under way."""
        if not self._shown_running:
            self._shown_running = True
            await self._order.log.note(
                Move(
                    replace(
                        self._row,
                        status=LaneStatus.RUNNING,
                        step_id=step_id,
                        attempts=self._attempts,
                        started_at=self._started_at,
                    )
                )
            )

    def _moved(self, step_id: str) -> Move:
        """The lane between two steps, as it is now."""
        self._shown_running = True
        self._row = replace(
            self._row,
            status=LaneStatus.RUNNING,
            facts=self._facts.model_copy(deep=True),
            outputs=dict(self._outputs),
            notes=list(self._notes),
            step_id=step_id,
            attempts=self._attempts,
            started_at=self._started_at,
        )
        return self._move(self._row)

    def _move(self, row: LaneRow, ended: dict[str, StepStatus] | None = None) -> Move:
        """The move with all that is not committed yet."""
        change, self._change = self._change, EntityChange()
        usage, self._usage = self._usage, Usage()
        return Move(row, change if change != EntityChange() else None, ended, usage)

    async def _end(self, verdict: Verdict, failure: Failure | None) -> None:
        failed = verdict is not Verdict.COMPLETED
        steps = tally(self._order.plan, self._facts)
        done = [step_id for step_id in self._outputs if steps.get(step_id) is StepStatus.COMPLETED]
        last = next((step.id for step in reversed(self._order.plan.steps) if step.id in done), None)
        row = replace(
            self._row,
            status=LaneStatus.FAILED if failed else LaneStatus.COMPLETED,
            facts=None,
            outputs={},
            notes=[note for note in self._notes if not failure or note.step_id != failure.step],
            step_id=(failure.step or None) if failure else last,
            attempts=self._attempts,
            error={"code": failure.code, "message": failure.message} if failure else None,
            output=self._outputs[last] if last is not None else None,
            started_at=self._started_at,
            completed_at=micros(),
        )
        log = self._order.log
        write = log.put if failed and self._order.waits else log.note
        await write(self._move(row, steps))
