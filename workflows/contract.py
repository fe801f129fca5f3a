"""How the rest of the house talks to the workflows: names, ids, inputs and signals.

Histories hold nothing but these, so a change here needs a gate in `workflows.versions`.
"""

from pydantic import BaseModel
from temporalio.contrib.pydantic import pydantic_data_converter

from engine.book import ADMIT, execution_id
from engine.facts import Facts
from engine.plan import Plan

__all__ = ["ADMIT", "DATA_CONVERTER", "PAUSE", "RUN", "TASK_TIMEOUT", "RunInput", "workflow_id"]

workflow_id = execution_id

#: The workflow type that carries out every run.
RUN = "run"
#: Start nothing new; when what is in flight has finished, end as paused.
PAUSE = "pause"

#: Seconds. A local activity holds its workflow task: this bounds how late signals and cancel are.
TASK_TIMEOUT = 2.0

DATA_CONVERTER = pydantic_data_converter


class RunInput(BaseModel):
    """What `RunWorkflow` starts with: a reference, or what it carried over to itself.

    Attributes:
        run: the run's id, 32 hex digits.
        n: the number of the execution, from 1.
        carried: plan and facts of the part before, after continue-as-new.
    """

    run: str
    n: int = 1
    carried: "Carried | None" = None


class Carried(BaseModel):
    """A run in the middle, as it passes from one part of its execution to the next."""

    plan: Plan
    facts: Facts
