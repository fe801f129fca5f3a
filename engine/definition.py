"""The document that a user writes: a DAG of steps.

Source: seed 004 and contracts §3.3. Validation that needs more than one field is in
`engine.validation`.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

StepId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,64}$")]
OnError = Literal["fail", "continue", "retry", "fallback", "pause"]

#: Steps of a definition, those in loop bodies included.
MAX_STEPS = 500
#: Loops inside loops.
MAX_LOOP_DEPTH = 4


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Retry(_Strict):
    """How often and when a failed step is tried again.

    `delay` and `max_delay` are seconds. `fixed` waits `delay`; `linear` waits `delay` times the
    number of failures; `exponential` doubles it each time; none waits longer than `max_delay`.
    """

    max_attempts: int = Field(default=3, ge=1, le=100)
    delay: float = Field(default=5, ge=0, le=86_400)
    backoff: Literal["fixed", "linear", "exponential"] = "fixed"
    max_delay: float = Field(default=60, ge=0, le=86_400)

    def pause_after(self, failures: int) -> float:
        """Seconds to wait after that many failures.

        >>> [Retry(backoff="exponential", delay=1).pause_after(n) for n in (1, 2, 3)]
        [1.0, 2.0, 4.0]
        """
        match self.backoff:
            case "fixed":
                pause = self.delay
            case "linear":
                pause = self.delay * failures
            case "exponential":
                pause = self.delay * 2.0 ** min(failures - 1, 30)
        return min(float(pause), self.max_delay)


class Step(_Strict):
    """One step: what it does, when it may start, and what happens when it fails."""

    id: StepId
    type: str = Field(min_length=1, max_length=64)
    config: dict[str, JsonValue] = {}
    depends_on: list[str] = []
    name: str | None = Field(default=None, max_length=200)
    description: str | None = Field(default=None, max_length=2_000)
    enabled: bool = True
    when: str | None = None
    #: Seconds for one attempt; None takes the default of the step's type.
    timeout: float | None = Field(default=None, gt=0, le=7 * 86_400)
    retry: Retry | None = None
    on_error: OnError = "fail"
    fallback_step: str | None = None
    catch_step: str | None = None
    effect: Literal["none", "idempotent", "once"] = "idempotent"
    local: bool | None = None


class Definition(_Strict):
    """A workflow as it is written, sent and kept."""

    name: str = Field(min_length=1, max_length=200)
    description: str | None = Field(default=None, max_length=2_000)
    steps: list[Step] = Field(min_length=1, max_length=MAX_STEPS)
    output: JsonValue = None
    #: JSON Schema 2020-12 that the input of a run has to fit; `engine.schema` checks both.
    input_schema: dict[str, JsonValue] | None = None
    #: The id of the type whose entities it is for: a run is a batch, each step once an entity.
    entity_type: str | None = Field(default=None, min_length=1, max_length=100)
