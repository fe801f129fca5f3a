"""What a step does, from its configuration to its outcome; nothing is recorded here."""

import asyncio
import logging
import time
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from pydantic import JsonValue, ValidationError

from activities.base import AnyStepType, Clients, StepContext
from activities.definitions import Prepared, split
from activities.secrets import Disclosed, Vault
from engine.call import StepCall
from engine.errors import Conflict, StepError, Unavailable
from engine.expressions import ExpressionError, evaluate, render
from engine.outcomes import Outcome, Skip
from engine.usage import Usage
from engine.wording import said
from store.database import Database, Tx

#: Seconds that a short step runs before its start is recorded on its own.
_LAZY = 0.1

_log = logging.getLogger(__name__)
T = TypeVar("T")


class RunClosedError(Exception):
    """The run is over, or being cancelled."""


@dataclass(frozen=True)
class Desk:
    """What every step of a worker process works with; `worker` names the process in rows."""

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


class Doing:
    """One attempt of one step, apart from what is recorded of it.

    Attributes:
        usage: what it has asked of models so far.
        secrets: those that it was told, to be taken out of what is recorded.
    """

    def __init__(
        self,
        desk: Desk,
        call: StepCall,
        step_type: AnyStepType,
        prepared: Prepared,
        org: str,
        *,
        began: int | None = None,
        until: float | None = None,
    ) -> None:
        self.usage = Usage()
        self.secrets = Disclosed(desk.vault, org)
        self._desk = desk
        self._call = call
        self._type = step_type
        self._prepared = prepared
        self._org = org
        self._began = began
        self._until = until

    async def run(
        self, scope: dict[str, JsonValue], begin: Callable[[], Awaitable[None]]
    ) -> Outcome:
        """Do what the step does, inside its time.

        Args:
            scope: the variables of its expressions.
            begin: called before it reaches outside, unless it decides only or is very quick.

        Raises:
            StepError: it has failed.
            Unavailable: the database does not answer, and the activity is a local one.
        """
        step = self._prepared.step
        try:
            if step.when is not None and not _holds(step.id, evaluate(step.when, scope)):
                return Skip(unmet=True, reason="Its `when` is not true.")
            config = self._configure(scope, await self._disclose())
        except ExpressionError as error:
            raise StepError("expression_failed", str(error), retryable=False) from error
        timeout = step.timeout or self._prepared.kind.timeout
        work = asyncio.ensure_future(self._type.run(config, self._context(scope, timeout)))
        try:
            async with asyncio.timeout(timeout):
                if self._type.lane != "decides":
                    await asyncio.wait({work}, timeout=_LAZY if self._call.local else 0)
                    if not work.done():
                        await begin()
                return await work
        except TimeoutError:
            raise StepError("timeout", f"Step '{step.id}' took over {timeout:g} s.") from None
        except (StepError, RunClosedError, Unavailable):
            raise
        except Exception as error:
            # A defect of a step type must not look like a lost worker and be tried for ever.
            # Its traceback may quote what it was told.
            told = self.secrets.text(traceback.format_exc())
            _log.error("step type %s raised\n%s", step.type, told)
            raise StepError("internal_error", f"{type(error).__name__} in {step.type}") from error
        finally:
            if not work.done():
                work.cancel()
                await asyncio.wait({work})

    def _context(self, scope: dict[str, JsonValue], timeout: float) -> StepContext:
        call = self._call
        return StepContext(
            call=call,
            key=call.key,
            step=call.step,
            attempt=call.attempt,
            timeout=timeout,
            now=call.now,
            began=self._began / 1_000_000 if self._began else call.now,
            clients=self._desk.clients,
            scope=scope,
            org=self._org,
            usage=self.usage,
            until=self._until,
            n=call.n,
            secrets=self.secrets,
        )

    async def _disclose(self) -> dict[str, JsonValue]:
        """The variable `secrets`, with what the configuration names and nothing else."""
        names = self._prepared.secrets
        if not names:
            return {}
        told = await self._desk.patiently(self._call, lambda: self.secrets.resolve(*names))
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
            raise StepError(
                "config_invalid", f"Step '{step.id}': {where}: {said(first)}", retryable=False
            ) from None


def _holds(step_id: str, value: JsonValue) -> bool:
    if not isinstance(value, bool):
        raise StepError(
            "not_a_boolean", f"The `when` of step '{step_id}' is not a boolean.", retryable=False
        )
    return value


def micros(seconds: float | None = None) -> int:
    """This time in microseconds UTC, or now."""
    return int((time.time() if seconds is None else seconds) * 1_000_000)
