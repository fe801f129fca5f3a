"""Which entities a workflow is for, when it is for any: only a list of them starts it."""

from typing import Any

from app.services.entities import known_type
from app.services.schedules import BY_HAND
from engine.errors import Conflict, Invalid, Problem
from store import entity_types, schedules
from store.database import Tx
from store.workflows import WorkflowRow


def type_problems(tx: Tx, org_id: str, named: Any) -> list[Problem]:
    """What is wrong with the type that a definition names, if it names one."""
    if not isinstance(named, str):
        return []
    try:
        with known_type("entity_type"):
            # What cannot be printed names nothing, and not every database takes it.
            entity_types.get(tx, org_id, named if named.isprintable() else "")
    except Invalid as error:
        return [*error.problems]
    return []


def starter_problems(definition: dict[str, Any], trigger_type: str | None) -> list[Problem]:
    """What is wrong with what starts a workflow of this definition; None for nothing new."""
    if definition.get("entity_type") is None or trigger_type in (None, "manual"):
        return []
    message = "trigger_type: only a list of entities starts a workflow with an entity_type"
    return [Problem(message, path="trigger_type")]


def require_by_hand(tx: Tx, row: WorkflowRow, definition: dict[str, Any]) -> None:
    """Refuse a definition for entities where something else may start the workflow.

    Raises:
        Invalid: its `trigger_type` says so.
        Conflict: it has schedules.
    """
    if definition.get("entity_type") is None:
        return
    if wrong := starter_problems(definition, row.trigger_type):
        raise Invalid("The definition is not valid.", problems=wrong)
    if schedules.any_of_workflow(tx, row.id):
        raise Conflict(f"{BY_HAND} Delete its schedules first.")


def with_type_id(tx: Tx, org_id: str, definition: dict[str, Any]) -> dict[str, Any]:
    """The definition with the id of its type, which may be there by name.

    Raises:
        Invalid: there is no such type.
    """
    named = definition.get("entity_type")
    if named is None:
        return definition
    with known_type("entity_type"):
        return definition | {"entity_type": entity_types.hold(tx, org_id, named).id}
