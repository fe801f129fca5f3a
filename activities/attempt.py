"""One attempt of one step of a run: what it does, and its record."""

from dataclasses import replace

from pydantic import JsonValue

from activities.base import AnyStepType
from activities.definitions import Prepared
from activities.doing import Desk, Doing, micros
from engine.call import StepCall
from engine.errors import StepError
from engine.facts import Failure
from engine.outcomes import Await, Outcome, Sleep
from engine.usage import Usage
from store import journal
from store.steps import StepRow

#: Characters of an error that are kept.
MESSAGE = 2_000


class Attempt:
    """One attempt of one step, from its configuration to its record."""

    def __init__(
        self,
        desk: Desk,
        call: StepCall,
        step_type: AnyStepType,
        prepared: Prepared,
        own: StepRow | None,
        org: str,
    ) -> None:
        self._desk = desk
        self._call = call
        self._begun = call.poll
        #: What earlier attempts have asked of models.
        self._spent = own.usage if own is not None else None
        same = own is not None and own.generation == call.generation
        #: A poll and a repeated attempt go on from when the step first began.
        self._before = own.started_at if own is not None and same else None
        self._started_at = self._before or micros()
        until = (
            own.outcome.until
            if own is not None and call.poll and isinstance(own.outcome, Await)
            else None
        )
        self._doing = Doing(desk, call, step_type, prepared, org, began=self._before, until=until)

    async def begin(self) -> None:
        """Record that the attempt began, once."""
        if self._begun:
            return
        self._begun = True
        await self._desk.write(
            self._call,
            lambda tx: journal.begin(tx, self._call, self._desk.worker, self._started_at),
        )

    async def run(self, scope: dict[str, JsonValue]) -> Outcome:
        """Do what the step does, inside its time."""
        return await self._doing.run(scope, self.begin)

    def _attempted(self, outcome: Outcome | None = None) -> journal.Attempted:
        at = self._started_at
        if isinstance(outcome, Sleep | Await) and not self._before:
            # A wait goes by the clock of the timer that ends it. Where that one is behind, as it
            # is when the timer is asked for, what the step depends on would be over only later.
            at = max(micros(self._call.now), micros())
        return journal.Attempted(self._desk.worker, at, self._begun, self._total())

    def _total(self) -> Usage | None:
        """What all attempts together have asked of models; None when this one adds nothing."""
        if not self._doing.usage:
            return None
        total = replace(self._spent or Usage())
        total.add(self._doing.usage)
        return total

    async def finished(self, outcome: Outcome) -> Outcome:
        """Record the outcome, without secrets; what is recorded is what counts."""
        call = self._call
        try:
            outcome = await self._doing.secrets.outcome(outcome)
            await self._desk.write(
                call, lambda tx: journal.finish(tx, call, outcome, self._attempted(outcome))
            )
        except StepError as error:
            raise await self.failed(error) from error
        return outcome

    async def failed(self, error: StepError) -> StepError:
        """Record the failure, without secrets, and give it back so."""
        call = self._call
        error = self._doing.secrets.error(error)
        failure = failure_of(error, call.step)
        await self._desk.write(
            call,
            lambda tx: journal.fail(tx, call, failure, self._attempted()),
        )
        return error


def failure_of(error: StepError, step: str) -> Failure:
    """The error as facts and rows have it."""
    return Failure(
        code=error.stable_code,
        message=error.message[:MESSAGE],
        step=step,
        retryable=error.retryable,
        retry_after=error.retry_after,
    )
