"""The closed set of what a step may answer.

A step type is free in what it does and bound in how it can steer the run: it returns one of these,
and the interpreter matches them exhaustively. `output`, `items`, `reason`, `child`, `artifacts` and
`entity` are for the record alone: they are left out when an answer travels, so that no user data
reaches Temporal's history and no answer can be too large for it.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, RootModel


class _Outcome(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Artifact(BaseModel):
    """Something that a step used (`trigger`) or made (`result`); source: contracts A-2.

    Attributes:
        artifact_type: what it is, as in `vendor`.
        id: as it is spelled to users.
    """

    artifact_type: str
    id: str
    role: Literal["trigger", "result"]


class EntityChange(BaseModel):
    """What becomes of the entity of a batch's lane.

    Attributes:
        fields: those that get another value; null takes one away.
        published: somebody has taken it to be shown.
    """

    fields: dict[str, JsonValue] = {}
    published: bool = False


class Done(_Outcome):
    """The step is complete, with this output; `entity` counts in a batch and nowhere else."""

    kind: Literal["done"] = "done"
    output: JsonValue = Field(default=None, exclude=True)
    artifacts: list[Artifact] = Field(default=[], exclude=True)
    entity: EntityChange | None = Field(default=None, exclude=True)


class Skip(_Outcome):
    """The step decided not to act.

    Attributes:
        unmet: it was not even asked: its condition does not hold, or nothing leads to it.
    """

    kind: Literal["skip"] = "skip"
    unmet: bool = False
    reason: str = Field(default="", exclude=True)


class Branch(_Outcome):
    """The step is complete and excludes these steps from the run."""

    kind: Literal["branch"] = "branch"
    untaken: list[str] = []
    output: JsonValue = Field(default=None, exclude=True)


class Each(_Outcome):
    """The step's body is to run once for each item."""

    kind: Literal["each"] = "each"
    count: int = 0
    concurrency: int = 1
    on_item_error: Literal["fail", "continue"] = "fail"
    items: list[JsonValue] = Field(default=[], exclude=True)


class Sleep(_Outcome):
    """The step completes by itself at this time (seconds since 1970, UTC)."""

    kind: Literal["sleep"] = "sleep"
    wake_at: float


class Await(_Outcome):
    """The step is asked again every `interval` seconds.

    Attributes:
        until: when it gives up (seconds since 1970); None when it does not.
        child: the id of the run that it waits for, for the record.
    """

    kind: Literal["await"] = "await"
    interval: float
    until: float | None = None
    child: str | None = Field(default=None, exclude=True)


Outcome = Annotated[
    Done | Skip | Branch | Each | Sleep | Await,
    Field(discriminator="kind"),
]


class Answer(RootModel[Outcome]):
    """What a step activity returns; a class, so that Temporal can decode it by type."""
