"""/api/workflows: looking at runs. Literal segments stand before `{workflow_id}`."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request

from app.envelope import Json, Viewer, envelope, services
from app.surfaces.full_engine.errors import errors, render
from app.surfaces.full_engine.runs import shapes
from app.surfaces.full_engine.runs.schemas import (
    ITEM_STATES,
    RUN_STATES,
    AttemptsOut,
    ItemsOut,
    ItemStateName,
    OneRunOut,
    RunsOut,
    RunState,
)
from app.surfaces.full_engine.wire import Limit, Offset, RunId, Words, WorkflowId, bare, micros
from store.runs import Wanted

router = APIRouter(prefix="/api/workflows", tags=["runs"], route_class=envelope(render))

Iteration = Annotated[
    str,
    Query(
        pattern=r"^([0-9]{1,9}(\.[0-9]{1,9}){0,3})?$",
        description="The index in each loop around the step, outermost first, as in `3.0`.",
    ),
]
StepId = Annotated[str, Path(description="As in the definition, in a loop as well.")]
Statuses = Annotated[
    list[RunState], Query(default_factory=list, description="Any of them; may be repeated.")
]
Moment = Annotated[
    datetime | None,
    Query(description="ISO 8601, itself included; without a zone it is UTC."),
]


@router.get("/runs", response_model=RunsOut, responses=errors())
async def list_all_runs(
    request: Request,
    caller: Viewer,
    status: Statuses,
    workflow_id: Annotated[str | None, Query(description="Also of one that was deleted.")] = None,
    trigger: Words | None = None,
    created_after: Moment = None,
    created_before: Moment = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> Json:
    """List the runs of all workflows, newest first."""
    workflow = None if workflow_id is None else bare("wf_", workflow_id)
    wanted = _wanted(workflow, status, trigger, created_after, created_before)
    found = await services(request).run_pages.page(caller, wanted, limit, offset)
    return Json(shapes.runs_out(found))


@router.get("/{workflow_id}/runs", response_model=RunsOut, responses=errors(404))
async def list_runs(
    request: Request,
    caller: Viewer,
    workflow_id: WorkflowId,
    status: Statuses,
    trigger: Words | None = None,
    created_after: Moment = None,
    created_before: Moment = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> Json:
    """List the runs of a workflow, newest first."""
    workflow = bare("wf_", workflow_id)
    wanted = _wanted(workflow, status, trigger, created_after, created_before)
    found = await services(request).run_pages.page_of(caller, workflow, wanted, limit, offset)
    return Json(shapes.runs_out(found))


def _wanted(
    workflow: str | None,
    states: list[RunState],
    trigger: str | None,
    after: datetime | None,
    before: datetime | None,
) -> Wanted:
    return Wanted(
        workflow_id=workflow,
        statuses=[canonical for canonical, state in RUN_STATES.items() if state in states],
        trigger=trigger,
        created_after=None if after is None else micros(after),
        created_before=None if before is None else micros(before),
    )


@router.get("/runs/{run_id}", response_model=OneRunOut, responses=errors(404))
async def get_run(request: Request, caller: Viewer, run_id: RunId) -> Json:
    """A run with every step of its version."""
    view = await services(request).run_pages.view(caller, bare("run_", run_id))
    return Json(OneRunOut(run=shapes.run_full_out(view)))


@router.get("/runs/{run_id}/output", response_model=None, responses=errors(404))
async def get_run_output(request: Request, caller: Viewer, run_id: RunId) -> Json:
    """The whole output of a run, however large; null while there is none."""
    return Json(await services(request).run_pages.output(caller, bare("run_", run_id)))


@router.get("/runs/{run_id}/steps/{step_id}/output", response_model=None, responses=errors(404))
async def get_step_output(
    request: Request, caller: Viewer, run_id: RunId, step_id: StepId, iteration: Iteration = ""
) -> Json:
    """The whole output of a step, however large."""
    return Json(
        await services(request).run_pages.step_output(
            caller, bare("run_", run_id), step_id.replace("\0", "-"), iteration
        )
    )


@router.get("/runs/{run_id}/input", response_model=None, responses=errors(404))
async def get_run_input(request: Request, caller: Viewer, run_id: RunId) -> Json:
    """The whole input of a run, however large."""
    return Json(await services(request).run_pages.input(caller, bare("run_", run_id)))


@router.get("/runs/{run_id}/steps/{step_id}/items", response_model=ItemsOut, responses=errors(404))
async def list_items(
    request: Request,
    caller: Viewer,
    run_id: RunId,
    step_id: StepId,
    iteration: Iteration = "",
    status: ItemStateName | None = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> Json:
    """List the items of a loop in their order, each with the steps of the body."""
    state = next((state for state, name in ITEM_STATES.items() if name == status), None)
    page = await services(request).run_pages.items(
        caller, bare("run_", run_id), step_id, iteration, state, limit, offset
    )
    return Json(shapes.items_out(page))


@router.get(
    "/runs/{run_id}/steps/{step_id}/attempts",
    response_model=AttemptsOut,
    responses=errors(404, 409),
)
async def list_attempts(
    request: Request,
    caller: Viewer,
    run_id: RunId,
    step_id: StepId,
    iteration: Iteration = "",
    limit: Limit = 50,
    offset: Offset = 0,
) -> Json:
    """List every attempt of a step, oldest first, over all executions of the run."""
    found = await services(request).run_pages.attempts(
        caller, bare("run_", run_id), step_id, iteration
    )
    page = [shapes.attempt_out(attempt) for attempt in found[offset : offset + limit]]
    return Json(AttemptsOut(attempts=page, total=len(found)))
