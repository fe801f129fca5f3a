"""/api/v1/workflows: what is done to entities, step by step."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from app.envelope import Editor, Json, Viewer, envelope, services, to_json
from app.services.once import Answered, once
from app.services.patches import patch
from app.services.spelling import bare
from app.services.workflows import Filter, NewWorkflow
from app.surfaces.entity_batches.errors import BODY, KEYED, errors, render
from app.surfaces.entity_batches.wire import (
    IN_PROJECT,
    IdempotencyKey,
    Limit,
    Offset,
    WorkflowId,
    listed,
)
from app.surfaces.entity_batches.workflows.schemas import (
    EntityWorkflowChangeIn,
    EntityWorkflowFullOut,
    EntityWorkflowIn,
    EntityWorkflowRemovedOut,
    EntityWorkflowsOut,
    Status,
)
from app.surfaces.entity_batches.workflows.shapes import (
    SHOWN,
    changed,
    definition_of,
    workflow_full_out,
    workflow_out,
)
from engine.lifecycle import DefinitionStatus
from store.latest import Summary
from store.workflows import WorkflowRow

router = APIRouter(
    prefix="/api/v1/workflows",
    tags=["batches"],
    route_class=envelope(render),
    dependencies=[IN_PROJECT],
)


@router.get("", response_model=EntityWorkflowsOut, responses=errors())
async def list_workflows(
    request: Request,
    caller: Viewer,
    status: Annotated[Status | None, Query(description="Only those of this status.")] = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> Json:
    """List workflows, newest first, also those that were made elsewhere."""
    wanted = None if status is None else [kept for kept, shown in SHOWN.items() if shown == status]
    page, said = await services(request).workflows.summaries(
        caller, Filter(wanted, None, None, limit, offset)
    )
    rows = [workflow_out(row, said[row.id]) for row in page.rows]
    return Json(listed(rows, page.total, offset))


@router.post(
    "", status_code=201, response_model=EntityWorkflowFullOut, responses=errors(409, *KEYED)
)
async def create_workflow(
    request: Request, caller: Editor, body: EntityWorkflowIn, idempotency_key: IdempotencyKey = None
) -> Json:
    """Create a workflow that runs over entities of one type."""
    keys = request.headers.getlist("idempotency-key")
    answered = await services(request).workflows.create_once(
        caller,
        NewWorkflow(definition_of(body), DefinitionStatus(body.status), "manual", []),
        once(keys, "POST /api/v1/workflows", await request.json()),
        _created,
    )
    headers = {"Location": f"/api/v1/workflows/{answered.made}"}
    if answered.replayed:
        headers["Idempotent-Replayed"] = "true"
    return Json(answered.body, answered.status, headers)


@router.get("/{workflowId}", response_model=EntityWorkflowFullOut, responses=errors(404))
async def get_workflow(request: Request, caller: Viewer, workflow_id: WorkflowId) -> Json:
    """A workflow with its steps."""
    found = await services(request).workflows.with_summary(caller, bare("", workflow_id))
    return Json(workflow_full_out(*found))


@router.patch(
    "/{workflowId}", response_model=EntityWorkflowFullOut, responses=errors(404, 409, *BODY)
)
async def change_workflow(
    request: Request, caller: Editor, workflow_id: WorkflowId, body: EntityWorkflowChangeIn
) -> Json:
    """Change a workflow: its status, and by a next version its name, its description, its steps."""
    workflows, found = services(request).workflows, bare("", workflow_id)
    status = DefinitionStatus(body.status) if "status" in body.model_fields_set else None
    await patch(workflows, caller, found, lambda before: changed(before, body), status)
    return Json(workflow_full_out(*await workflows.with_summary(caller, found)))


@router.delete("/{workflowId}", response_model=EntityWorkflowRemovedOut, responses=errors(404))
async def delete_workflow(request: Request, caller: Editor, workflow_id: WorkflowId) -> Json:
    """Delete a workflow: its live jobs are cancelled, those that are over stay readable."""
    found = bare("", workflow_id)
    await services(request).workflows.delete(caller, found)
    return Json(EntityWorkflowRemovedOut(id=found, deleted=True))


def _created(row: WorkflowRow, definition: dict[str, Any]) -> Answered:
    summary = Summary(len(definition["steps"]), definition["entity_type"], None)
    return Answered(row.id, 201, to_json(workflow_full_out(row, definition, summary)))
