"""/api/workflows: the workflows themselves. Literal segments stand before `{workflow_id}`."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request

from app.envelope import Editor, Json, Viewer, envelope, services
from app.services.workflows import Edit, Filter, NewWorkflow
from app.surfaces.full_engine.errors import BODY, errors, problem_out, render
from app.surfaces.full_engine.wire import DoneOut, Limit, Offset, Words, WorkflowId, bare
from app.surfaces.full_engine.workflows import shapes
from app.surfaces.full_engine.workflows.revisions import IfMatch, etag, revisions, tagged
from app.surfaces.full_engine.workflows.schemas import (
    CreatedOut,
    CreateIn,
    DiffOut,
    OneWorkflowOut,
    ReadWorkflowOut,
    RollbackIn,
    StatusIn,
    TriggerIn,
    TriggerType,
    UpdateIn,
    ValidatedOut,
    ValidateIn,
    VersionFullOut,
    VersionsOut,
    WorkflowsOut,
)
from engine.lifecycle import DefinitionStatus
from store.authoring import Read
from store.workflows import Trigger, WorkflowRow

router = APIRouter(prefix="/api/workflows", tags=["workflows"], route_class=envelope(render))

#: The answer of most routes here.
WORKFLOW = tagged(200, OneWorkflowOut)
VersionPath = Annotated[int, Path(ge=0, le=2**31 - 1)]
VersionQuery = Annotated[int, Query(ge=0, le=2**31 - 1)]


def _answer(row: WorkflowRow, definition: dict[str, Any]) -> Json:
    body = OneWorkflowOut(workflow=shapes.workflow_full_out(row, definition))
    return Json(body, 200, etag(row))


def _trigger(given: TriggerIn | None) -> Trigger | None:
    return None if given is None else Trigger(given.event, given.conditions)


def _read(request: Request) -> Read:
    return revisions(request.headers.getlist("if-match"))


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
        caller, Filter(None if status is None else [status], trigger_type, tag, limit, offset)
    )
    return Json(
        WorkflowsOut(workflows=[shapes.workflow_out(row) for row in page.rows], total=page.total)
    )


@router.post("", status_code=201, responses=tagged(201, CreatedOut) | errors(*BODY))
async def create_workflow(request: Request, caller: Editor, body: CreateIn) -> Json:
    """Create a workflow; its definition must be valid."""
    row, definition = await services(request).workflows.create(
        caller,
        NewWorkflow(
            body.definition, body.status, body.trigger_type, body.tags, _trigger(body.trigger)
        ),
    )
    workflow = shapes.workflow_full_out(row, definition)
    return Json(
        CreatedOut(id=workflow["id"], workflow=workflow),
        201,
        {"Location": f"/api/workflows/{workflow['id']}", **etag(row)},
    )


@router.post("/validate", response_model=ValidatedOut, responses=errors(*BODY))
async def validate_definition(request: Request, caller: Viewer, body: ValidateIn) -> Json:
    """Say everything that is wrong with a definition, without creating or executing anything."""
    problems = (await services(request).workflows.validate(caller, body.definition)).problems
    return Json(
        ValidatedOut(
            valid=not problems,
            errors=[problem.message for problem in problems],
            problems=[problem_out(problem) for problem in problems],
        )
    )


@router.get("/{workflow_id}", responses=tagged(200, ReadWorkflowOut) | errors(404))
async def get_workflow(request: Request, caller: Viewer, workflow_id: WorkflowId) -> Json:
    """A workflow with its latest definition."""
    workflows = services(request).workflows
    row, definition = await workflows.get(caller, bare("wf_", workflow_id))
    full: dict[str, Any] = {**shapes.workflow_full_out(row, definition)}
    failure = await workflows.trigger_failure(row)
    if failure is not None:
        full["trigger_failure"] = shapes.trigger_failure_out(failure)
    return Json({"workflow": full}, 200, etag(row))


@router.put("/{workflow_id}", responses=WORKFLOW | errors(404, 409, 412, *BODY))
async def update_workflow(
    request: Request,
    caller: Editor,
    workflow_id: WorkflowId,
    body: UpdateIn,
    if_match: IfMatch = None,
) -> Json:
    """Give a workflow its next version; a workflow is renamed in its definition."""
    row, definition = await services(request).workflows.revise(
        caller,
        bare("wf_", workflow_id),
        Edit(
            body.definition,
            body.change_summary,
            body.tags,
            body.trigger_type or ("event" if body.trigger else None),
            _trigger(body.trigger),
        ),
        _read(request),
    )
    return _answer(row, definition)


@router.delete("/{workflow_id}", response_model=DoneOut, responses=errors(404, 412))
async def delete_workflow(
    request: Request, caller: Editor, workflow_id: WorkflowId, if_match: IfMatch = None
) -> Json:
    """Delete a workflow: its live runs are cancelled, those that are over stay readable."""
    await services(request).workflows.delete(caller, bare("wf_", workflow_id), _read(request))
    return Json(DoneOut(success=True))


@router.patch("/{workflow_id}/status", responses=WORKFLOW | errors(404, 412, *BODY))
async def set_workflow_status(
    request: Request,
    caller: Editor,
    workflow_id: WorkflowId,
    body: StatusIn,
    if_match: IfMatch = None,
) -> Json:
    """Say what a workflow may do; `paused` pauses its runs as well."""
    row, definition = await services(request).workflows.set_status(
        caller, bare("wf_", workflow_id), body.status, _read(request)
    )
    return _answer(row, definition)


@router.get("/{workflow_id}/versions", response_model=VersionsOut, responses=errors(404))
async def list_versions(
    request: Request,
    caller: Viewer,
    workflow_id: WorkflowId,
    limit: Limit = 50,
    offset: Offset = 0,
) -> Json:
    """List the versions of a workflow, newest first."""
    heads, total = await services(request).workflows.versions(
        caller, bare("wf_", workflow_id), limit, offset
    )
    return Json(VersionsOut(versions=[shapes.version_out(head) for head in heads], total=total))


@router.get(
    "/{workflow_id}/versions/{version}", response_model=VersionFullOut, responses=errors(404)
)
async def get_version(
    request: Request, caller: Viewer, workflow_id: WorkflowId, version: VersionPath
) -> Json:
    """One version with its definition."""
    row = await services(request).workflows.version(caller, bare("wf_", workflow_id), version)
    return Json(VersionFullOut(**shapes.version_out(row), definition=row.definition))


@router.get("/{workflow_id}/diff", response_model=DiffOut, responses=errors(404))
async def diff_versions(
    request: Request, caller: Viewer, workflow_id: WorkflowId, v1: VersionQuery, v2: VersionQuery
) -> Json:
    """What changed from version `v1` to `v2`, as operations of RFC 6902 and in a sentence."""
    found = await services(request).workflows.difference(caller, bare("wf_", workflow_id), v1, v2)
    return Json({"diff": found.operations, "summary": found.summary, "v1": v1, "v2": v2})


@router.post("/{workflow_id}/rollback", responses=WORKFLOW | errors(404, 409, 412, *BODY))
async def roll_back_workflow(
    request: Request,
    caller: Editor,
    workflow_id: WorkflowId,
    body: RollbackIn,
    if_match: IfMatch = None,
) -> Json:
    """Make the definition of an earlier version the next version."""
    row, definition = await services(request).workflows.roll_back(
        caller, bare("wf_", workflow_id), body.version, body.change_summary, _read(request)
    )
    return _answer(row, definition)
