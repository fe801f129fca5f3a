"""How the rest of the house talks to the workflows: names, ids, inputs and signals.

Histories hold nothing but these, so a change here needs a gate in `workflows.versions`.
"""

from dataclasses import replace
from typing import ClassVar

from pydantic import BaseModel
from temporalio.contrib.pydantic import PydanticPayloadConverter, pydantic_data_converter

from engine.batch import BATCH, BatchOpened
from engine.book import ADMIT, RUN, TASK_TIMEOUT, WAKE, Due, execution_id
from engine.facts import Facts
from engine.plan import Plan

__all__ = [
    "ADMIT",
    "BATCH",
    "DATA_CONVERTER",
    "PAUSE",
    "RUN",
    "TASK_TIMEOUT",
    "WAKE",
    "BatchInput",
    "RunInput",
    "workflow_id",
]

workflow_id = execution_id

#: Start nothing new; when what is in flight has finished, end as paused.
PAUSE = "pause"


class SharedConverter(PydanticPayloadConverter):
    """Temporal's converter for pydantic models, made once for the process.

    The SDK makes a new one for every activation of every workflow, twice, and each would build its
    serializers and type adapters anew: a tenth of a worker's CPU.
    """

    _shared: ClassVar["SharedConverter | None"] = None

    def __new__(cls) -> "SharedConverter":
        """Answer the one there is."""
        if cls._shared is None:
            cls._shared = super().__new__(cls)
            PydanticPayloadConverter.__init__(cls._shared)
        return cls._shared

    def __init__(self) -> None:
        # Nothing: `__new__` has done it, once.
        pass


DATA_CONVERTER = replace(pydantic_data_converter, payload_converter_class=SharedConverter)


class RunInput(BaseModel):
    """What `RunWorkflow` starts with: a reference, or what it carried over to itself.

    Attributes:
        run: the run's id, 32 hex digits.
        n: the number of the execution, from 1.
        carried: plan and facts of the part before, after continue-as-new.
        schedule: the schedule that has started this, which is to become a run; `run` is empty.
        due: the same, when it has waited for so long that its history was begun anew.
    """

    run: str
    n: int = 1
    carried: "Carried | None" = None
    schedule: str | None = None
    due: Due | None = None


class Carried(BaseModel):
    """A run in the middle, as it passes from one part of its execution to the next."""

    plan: Plan
    facts: Facts


class BatchInput(BaseModel):
    """What `BatchWorkflow` starts with.

    Attributes:
        carried: what it carried over to itself, after continue-as-new.
    """

    run: str
    n: int = 1
    carried: "CarriedBatch | None" = None


class CarriedBatch(BaseModel):
    """A batch in the middle: what it began with, and the next window."""

    opened: BatchOpened
    next: int
