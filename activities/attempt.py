"""One attempt of one step: configuration, effect, record."""

import asyncio
import logging
import time
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from pydantic import JsonValue, ValidationError

from activities.base import AnyStepType, Clients, StepContext
from activities.definitions import Prepared, split
from activities.secrets import Disclosed, Vault
from engine.call import StepCall
from engine.errors import Conflict, StepError, Unavailable
from engine.expressions import ExpressionError, evaluate, render
from engine.facts import Failure
from engine.outcomes import Await, Outcome, Skip, Sleep
from engine.usage import Usage
from store import journal
from store.database import Database, Tx
from store.steps import StepRow

#: Seconds that a short step runs before its start is recorded on its own.
_LAZY = 0.1
#: Characters of an error that are kept.
MESSAGE = 2_000

_log = logging.getLogger(__name__)
T = TypeVar("T")


class RunClosedError(Exception):
    """The run is over, or being cancelled."""


@dataclass(frozen=True)
class Desk:
    """What every attempt of a worker process works with; `worker` names the process in rows."""

    database: Database
    clients: Clients
    vault: Vault
    worker: str

    async def patiently(self, call: StepCall, work: Callable[[], Awaitable[T]]) -> T:
        """Do it; an ordinary activity waits for a database that does not answer.

        Raises:
            Unavailable: the database does not answer, and the activity is a local one.
        """
        while True:
            try:
                return await work()
            except Unavailable:
                if call.local:
                    raise
                _log.warning("step %s waits for the database", call.step)
                await asyncio.sleep(1)

    async def write(self, call: StepCall, work: Callable[[Tx], T]) -> T:
        """Write to the store, waiting for it where the activity may.

        Raises:
            RunClosedError: the run or the step is past this call.
            Unavailable: the database does not answer, and the activity is a local one.
        """
        try:
            return await self.patiently(call, lambda: self.database.write(work))
        except Conflict:
            raise RunClosedError from None


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
        self._type = step_type
        self._prepared = prepared
        self._org = org
        self._secrets = Disclosed(desk.vault, org)
        self._begun = call.poll
        #: What earlier attempts have asked of models, and what this one does.
        self._spent = own.usage if own is not None else None
        self._usage = Usage()
        same = own is not None and own.generation == call.generation
        #: A poll and a repeated attempt go on from when the step first began.
        self._before = own.started_at if own is not None and same else None
        self._started_at = self._before or _micros(time.time())
        self._until = (
            own.outcome.until
            if own is not None and call.poll and isinstance(own.outcome, Await)
            else None
        )

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
        step = self._prepared.step
        try:
            if step.when is not None and not _holds(step.id, evaluate(step.when, scope)):
                return Skip(unmet=True, reason="Its `when` is not true.")
            config = self._configure(scope, await self._disclose())
        except ExpressionError as error:
            raise StepError("expression_failed", str(error), retryable=False) from error
        timeout = step.timeout or self._prepared.kind.timeout
        context = StepContext(
            call=self._call,
            key=self._call.key,
            step=step.id,
            attempt=self._call.attempt,
            timeout=timeout,
            now=self._call.now,
            began=self._before / 1_000_000 if self._before else self._call.now,
            clients=self._desk.clients,
            scope=scope,
            org=self._org,
            usage=self._usage,
            until=self._until,
            n=self._call.n,
            secrets=self._secrets,
        )
        work = asyncio.ensure_future(self._type.run(config, context))
        try:
            async with asyncio.timeout(timeout):
                if self._type.lane != "decides":
                    await asyncio.wait({work}, timeout=_LAZY if self._call.local else 0)
                    if not work.done():
                        await self.begin()
                return await work
        except TimeoutError:
            raise StepError("timeout", f"Step '{step.id}' took over {timeout:g} s.") from None
        except (StepError, RunClosedError, Unavailable):
            raise
        except Exception as error:
            # A defect of a step type must not look like a lost worker and be tried for ever.
            # Its traceback may quote what it was told.
            told = self._secrets.text(traceback.format_exc())
            _log.error("step type %s raised\n%s", step.type, told)
            raise StepError("internal_error", f"{type(error).__name__} in {step.type}") from error
        finally:
            if not work.done():
                work.cancel()
                await asyncio.wait({work})

    async def _disclose(self) -> dict[str, JsonValue]:
        """The variable `secrets`, with what the configuration names and nothing else."""
        names = self._prepared.secrets
        if not names:
            return {}
        told = await self._desk.patiently(self._call, lambda: self._secrets.resolve(*names))
        return {"secrets": {**told}}

    def _configure(self, scope: dict[str, JsonValue], secrets: dict[str, JsonValue]) -> object:
        step, kind = self._prepared.step, self._prepared.kind
        templates, expressions = split(step, kind)
        rendered = render(templates, scope | secrets)
        assert isinstance(rendered, dict)
        raw = {**rendered, **expressions}
        if kind.body is not None:
            raw[kind.body] = step.config[kind.body]
        try:
            return self._type.config.model_validate(raw)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"])) or "config"
            complaint = first["msg"].removeprefix("Value error, ")
            raise StepError(
                "config_invalid", f"Step '{step.id}': {where}: {complaint}", retryable=False
            ) from None

    def _attempted(self, outcome: Outcome | None = None) -> journal.Attempted:
        at = self._started_at
        if isinstance(outcome, Sleep | Await) and not self._before:
            # A wait goes by the clock of the timer that ends it. Where that one is behind, as it
            # is when the timer is asked for, what the step depends on would be over only later.
            at = max(_micros(self._call.now), _micros(time.time()))
        return journal.Attempted(self._desk.worker, at, self._begun, self._total())

    def _total(self) -> Usage | None:
        """What all attempts together have asked of models; None when this one adds nothing."""
        if not self._usage:
            return None
        total = replace(self._spent or Usage())
        total.add(self._usage)
        return total

    async def finished(self, outcome: Outcome) -> Outcome:
        """Record the outcome, without secrets; what is recorded is what counts."""
        call = self._call
        try:
            outcome = await self._secrets.outcome(outcome)
            await self._desk.write(
                call, lambda tx: journal.finish(tx, call, outcome, self._attempted(outcome))
            )
        except StepError as error:
            raise await self.failed(error) from error
        return outcome

    async def failed(self, error: StepError) -> StepError:
        """Record the failure, without secrets, and give it back so."""
        call = self._call
        error = self._secrets.error(error)
        failure = Failure(
            code=error.stable_code,
            message=error.message[:MESSAGE],
            step=call.step,
            retryable=error.retryable,
            retry_after=error.retry_after,
        )
        await self._desk.write(
            call,
            lambda tx: journal.fail(tx, call, failure, self._attempted()),
        )
        return error


def _holds(step_id: str, value: JsonValue) -> bool:
    if not isinstance(value, bool):
        raise StepError(
            "not_a_boolean", f"The `when` of step '{step_id}' is not a boolean.", retryable=False
        )
    return value


def _micros(seconds: float) -> int:
    return int(seconds * 1_000_000)
