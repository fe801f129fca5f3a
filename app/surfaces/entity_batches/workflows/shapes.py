"""Turns what is written here into the one language, and back.

An ordered list of steps is a chain, each step depending on the one before it. A workflow that was
made elsewhere is shown in the words of this surface and with its own types of steps.
"""

from collections.abc import Mapping
from typing import Any, cast

from app.surfaces.entity_batches.wire import maybe_millis
from app.surfaces.entity_batches.workflows.schemas import (
    EntityStepIn,
    EntityStepOut,
    EntityWorkflowChangeIn,
    EntityWorkflowFullOut,
    EntityWorkflowIn,
    EntityWorkflowOut,
    Status,
)
from engine.errors import Conflict
from engine.lifecycle import DefinitionStatus
from store.latest import Summary
from store.workflows import WorkflowRow

#: How each status of a workflow is shown; contracts §4.3.
SHOWN: Mapping[DefinitionStatus, Status] = {
    DefinitionStatus.ACTIVE: "active",
    DefinitionStatus.DRAFT: "draft",
    DefinitionStatus.PAUSED: "draft",
    DefinitionStatus.ARCHIVED: "archived",
}
#: Keys of a step and of its `retry`, and what they are called here.
_WORDS = {"on_error": "onError", "max_attempts": "maxAttempts", "max_delay": "maxDelay"}
_STEP_KEYS = ("name", "description", "enabled", "when", "timeout", "retry", "on_error")


def definition_of(body: EntityWorkflowIn) -> dict[str, Any]:
    """The definition of a new workflow, which `engine.validation` has yet to judge."""
    head = {"name": body.name}
    if body.description is not None:
        head["description"] = body.description
    return {**head, "entity_type": body.entity_type_id, "steps": _chain(body.steps)}


def changed(definition: dict[str, Any], body: EntityWorkflowChangeIn) -> dict[str, Any]:
    """The definition with what the body gives, as above; whatever else it says stays.

    Raises:
        Conflict: there are steps for a workflow that is for no entities.
    """
    given = body.model_dump(include=body.model_fields_set & {"name", "description"})
    found = {**definition, **given}
    if found.get("description", "") is None:
        del found["description"]
    if "steps" in body.model_fields_set:
        if definition.get("entity_type") is None:
            raise Conflict("The workflow is not for entities; PUT /api/workflows/{id} changes it.")
        found["steps"] = _chain(body.steps)
    return found


def _chain(given: list[EntityStepIn]) -> list[dict[str, Any]]:
    ids = _ids(given)
    steps = []
    for index, step in enumerate(given):
        made = {"id": ids[index], "type": step.type, "config": step.config}
        before = {"depends_on": [ids[index - 1]]} if index else {}
        said = step.model_dump(exclude_unset=True, exclude={*made})
        steps.append({**made, **before, **said})
    return steps


def _ids(steps: list[EntityStepIn]) -> list[str]:
    """The ids of the steps; one that has none is called after its position."""
    taken = {step.id for step in steps}
    ids = []
    for number, step in enumerate(steps, 1):
        made = step.id or f"step_{number}"
        while step.id is None and made in taken:
            made += "_"
        ids.append(made)
    return ids


def workflow_out(row: WorkflowRow, summary: Summary) -> EntityWorkflowOut:
    """A workflow, as in lists."""
    return EntityWorkflowOut(
        id=row.id,
        name=row.name,
        description=row.description,
        status=SHOWN[DefinitionStatus(row.status)],
        stepsCount=summary.steps,
        lastRunAt=maybe_millis(summary.last_run_at),
        entityTypeId=summary.entity_type,
    )


def workflow_full_out(
    row: WorkflowRow, definition: Mapping[str, Any], summary: Summary
) -> EntityWorkflowFullOut:
    """A workflow with its steps."""
    steps = [_step_out(step) for step in definition["steps"]]
    return EntityWorkflowFullOut(**workflow_out(row, summary), steps=steps)


def _step_out(step: Mapping[str, Any]) -> EntityStepOut:
    given = _renamed({key: step[key] for key in _STEP_KEYS if key in step})
    if given.get("retry") is not None:
        given["retry"] = _renamed(given["retry"])
    shown = {"id": step["id"], "type": step["type"], "config": step.get("config", {}), **given}
    return cast(EntityStepOut, shown)


def _renamed(given: Mapping[str, Any]) -> dict[str, Any]:
    return {_WORDS.get(key, key): value for key, value in given.items()}
