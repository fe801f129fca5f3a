"""Turns the rows of workflows into what is answered."""

from typing import Any

from app.surfaces.full_engine.wire import iso, spelled
from app.surfaces.full_engine.workflows.schemas import (
    TriggerFailureOut,
    TriggerOut,
    VersionOut,
    WorkflowFullOut,
    WorkflowOut,
)
from engine.lifecycle import DefinitionStatus
from store.triggers import TriggerFailure
from store.workflows import Trigger, VersionHead, VersionRow, WorkflowRow


def workflow_out(row: WorkflowRow) -> WorkflowOut:
    """A workflow, as in lists."""
    return WorkflowOut(
        id=spelled("wf_", row.id),
        name=row.name,
        description=row.description,
        version=row.version,
        status=DefinitionStatus(row.status),
        trigger_type=row.trigger_type,
        trigger=_trigger_out(row.trigger),
        tags=row.tags,
        created_at=iso(row.created_at),
        updated_at=iso(row.updated_at),
    )


def workflow_full_out(row: WorkflowRow, definition: dict[str, Any]) -> WorkflowFullOut:
    """A workflow with its definition, as its author wrote it."""
    return WorkflowFullOut(**workflow_out(row), definition=definition)


def trigger_failure_out(failure: TriggerFailure) -> TriggerFailureOut:
    """Why an event did not start a workflow."""
    return TriggerFailureOut(
        event_id=spelled("cbevt_", failure.event_id), message=failure.message, at=iso(failure.at)
    )


def _trigger_out(trigger: Trigger | None) -> TriggerOut | None:
    if trigger is None:
        return None
    conditions: Any = trigger.conditions
    return TriggerOut(event=trigger.event, conditions=conditions)


def version_out(row: VersionHead | VersionRow) -> VersionOut:
    """A version, as in lists."""
    return VersionOut(
        version=row.version, change_summary=row.change_summary, created_at=iso(row.created_at)
    )
