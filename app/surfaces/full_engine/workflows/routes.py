"""/api/workflows: the workflows themselves. Literal segments stand before `{workflow_id}`."""

from fastapi import APIRouter, Request

from app.envelope import Editor, Json, Viewer, envelope, services
from app.services.workflows import Filter, NewWorkflow
from app.surfaces.full_engine.errors import BODY, errors, problem_out, render
from app.surfaces.full_engine.wire import Limit, Offset, Words, WorkflowId, bare
from app.surfaces.full_engine.workflows import shapes
from app.surfaces.full_engine.workflows.schemas import (
    CreatedOut,
    CreateIn,
    OneWorkflowOut,
    TriggerType,
    ValidatedOut,
    ValidateIn,
    WorkflowsOut,
)
from engine.lifecycle import DefinitionStatus

router = APIRouter(prefix="/api/workflows", tags=["workflows"], route_class=envelope(render))


@router.get("", response_model=WorkflowsOut, responses=errors())
async def list_workflows(
    request: Request,
    caller: Viewer,
    status: DefinitionStatus | None = None,
    trigger_type: TriggerType | None = None,
    tag: Words | None = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> Json:
    """List workflows, newest first."""
    page = await services(request).workflows.page(
        caller, Filter(status, trigger_type, tag, limit, offset)
    )
    return Json(
        WorkflowsOut(workflows=[shapes.workflow_out(row) for row in page.rows], total=page.total)
    )


@router.post("", status_code=201, response_model=CreatedOut, responses=errors(*BODY))
async def create_workflow(request: Request, caller: Editor, body: CreateIn) -> Json:
    """Create a workflow; its definition must be valid."""
    row = await services(request).workflows.create(
        caller, NewWorkflow(body.definition, body.status, body.trigger_type, body.tags)
    )
    workflow = shapes.workflow_full_out(row, body.definition)
    return Json(
        CreatedOut(id=workflow["id"], workflow=workflow),
        201,
        {"Location": f"/api/workflows/{workflow['id']}"},
    )


@router.post("/validate", response_model=ValidatedOut, responses=errors(*BODY))
async def validate_definition(request: Request, caller: Viewer, body: ValidateIn) -> Json:
    """Say everything that is wrong with a definition, without creating or executing anything."""
    problems = (await services(request).workflows.validate(body.definition)).problems
    return Json(
        ValidatedOut(
            valid=not problems,
            errors=[problem.message for problem in problems],
            problems=[problem_out(problem) for problem in problems],
        )
    )


@router.get("/{workflow_id}", response_model=OneWorkflowOut, responses=errors(404))
async def get_workflow(request: Request, caller: Viewer, workflow_id: WorkflowId) -> Json:
    """A workflow with its latest definition."""
    row, definition = await services(request).workflows.get(caller, bare("wf_", workflow_id))
    return Json(OneWorkflowOut(workflow=shapes.workflow_full_out(row, definition)))
