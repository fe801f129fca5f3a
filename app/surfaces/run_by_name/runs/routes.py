"""/v1: start a workflow by its name, read a run, list runs."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from app.envelope import Json, Runner, Viewer, envelope, services, to_json
from app.services.once import Answered, once_for_any_body
from app.surfaces.run_by_name.errors import BODY, errors, render
from app.surfaces.run_by_name.runs import shapes
from app.surfaces.run_by_name.runs.schemas import (
    RUN_WORDS,
    RunStartedOut,
    RunWord,
    StartIn,
    WorkflowRunOut,
    WorkflowRunsOut,
)
from app.surfaces.run_by_name.wire import (
    IdempotencyKey,
    RunId,
    WorkflowName,
    bare,
    micros,
    require_no_body,
)
from store.runs import RunRow, Wanted

router = APIRouter(prefix="/v1/workflows", tags=["run by name"], route_class=envelope(render))

#: Seconds since 1970 that the store can hold as microseconds.
Moment = Annotated[int, Query(ge=0, le=2**40, description="Seconds since 1970, itself included.")]


@router.get("/runs", response_model=WorkflowRunsOut, responses=errors(404))
async def list_workflow_runs(
    request: Request,
    caller: Viewer,
    workflow_name: Annotated[str | None, Query(description="The exact name.")] = None,
    status: Annotated[list[RunWord] | None, Query(description="Repeat it for several.")] = None,
    created_at_after: Moment | None = None,
    created_at_before: Moment | None = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    offset: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
) -> Json:
    """List runs, newest first, whatever has started them."""
    words = set(status or ())
    wanted = Wanted(
        statuses=[state for state, word in RUN_WORDS.items() if word in words],
        created_after=None if created_at_after is None else micros(created_at_after),
        # The whole of that second.
        created_before=None if created_at_before is None else micros(created_at_before + 1) - 1,
    )
    page = await services(request).by_name.page(caller, workflow_name, wanted, limit, offset)
    return Json(shapes.runs_out(page, limit, offset))


@router.get("/runs/{workflow_run_id}", response_model=WorkflowRunOut, responses=errors(404))
async def get_workflow_run(request: Request, caller: Viewer, workflow_run_id: RunId) -> Json:
    """A run and the steps that it has executed so far."""
    run = await services(request).by_name.view(caller, bare("cbwr_", workflow_run_id))
    return Json(shapes.run_out(run))


@router.post(
    "/{workflow_name}/run",
    status_code=201,
    response_model=RunStartedOut,
    responses=errors(404, 409, 502, *BODY),
)
async def run_named_workflow(
    request: Request,
    caller: Runner,
    workflow_name: WorkflowName,
    body: StartIn | None = None,
    idempotency_key: IdempotencyKey = None,
) -> Json:
    """Start a run of the workflow of this name; 201 once it is accepted and dispatched."""
    if body is None:
        await require_no_body(request)
    answered = await services(request).by_name.start(
        caller,
        workflow_name,
        (body or StartIn()).input,
        once_for_any_body(
            request.headers.getlist("idempotency-key"), f"POST /v1/workflows/{workflow_name}/run"
        ),
        _started,
    )
    headers = {"Idempotent-Replayed": "true"} if answered.replayed else {}
    return Json(answered.body, answered.status, headers)


def _started(run: RunRow) -> Answered:
    return Answered(run.id, 201, to_json(shapes.started_out(run)))
