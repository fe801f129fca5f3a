"""/api/workflows: runs. Literal segments stand before `{workflow_id}`."""

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response

from app.envelope import Json, Operator, Runner, Viewer, envelope, services, to_json
from app.services.once import once
from app.services.runs import Answered, Start
from app.surfaces.full_engine.errors import BODY, errors, render
from app.surfaces.full_engine.runs import shapes
from app.surfaces.full_engine.runs.schemas import (
    RUN_STATES,
    OneRunOut,
    ResumeIn,
    RunIn,
    RunsOut,
    RunState,
    StartedOut,
    VerbOut,
)
from app.surfaces.full_engine.runs.watching import Stream, stream
from app.surfaces.full_engine.wire import Limit, Offset, RunId, WorkflowId, bare, spelled
from store.runs import RunRow

router = APIRouter(prefix="/api/workflows", tags=["runs"], route_class=envelope(render))

Iteration = Annotated[
    str,
    Query(
        pattern=r"^([0-9]{1,9}(\.[0-9]{1,9}){0,3})?$",
        description="The index in each loop around the step, outermost first, as in `3.0`.",
    ),
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="1 to 255 printable ASCII characters. The same key and body within 24 hours "
        "get the first answer again, marked `Idempotent-Replayed: true`.",
    ),
]
LastEventId = Annotated[
    int,
    Header(
        alias="Last-Event-ID",
        ge=0,
        le=2**53,
        description="The `id` of the last event that was seen; the stream goes on after it.",
    ),
]


@router.get("/runs/{run_id}", response_model=OneRunOut, responses=errors(404))
async def get_run(request: Request, caller: Viewer, run_id: RunId) -> Json:
    """A run with every step of its version."""
    view = await services(request).runs.view(caller, bare("run_", run_id))
    return Json(OneRunOut(run=shapes.run_full_out(view)))


@router.get("/runs/{run_id}/output", response_model=None, responses=errors(404))
async def get_run_output(request: Request, caller: Viewer, run_id: RunId) -> Json:
    """The whole output of a run, however large; null while there is none."""
    return Json(await services(request).runs.output(caller, bare("run_", run_id)))


@router.get("/runs/{run_id}/steps/{step_id}/output", response_model=None, responses=errors(404))
async def get_step_output(
    request: Request, caller: Viewer, run_id: RunId, step_id: str, iteration: Iteration = ""
) -> Json:
    """The whole output of a step, however large."""
    return Json(
        await services(request).runs.step_output(
            caller, bare("run_", run_id), step_id.replace("\0", "-"), iteration
        )
    )


@router.post("/runs/{run_id}/cancel", response_model=VerbOut, responses=errors(404, 409))
async def cancel_run(request: Request, caller: Operator, run_id: RunId) -> Json:
    """Cancel a run, and wait up to two seconds for it; once cancelled it stays as it is."""
    row = await services(request).runs.cancel(caller, bare("run_", run_id))
    return Json(shapes.verb_out(row))


@router.post(
    "/runs/{run_id}/pause",
    response_model=VerbOut,
    responses={202: {"model": VerbOut}, **errors(404, 409)},
)
async def pause_run(request: Request, caller: Operator, run_id: RunId) -> Json:
    """Pause a run: 200 when it is paused, 202 while steps that are in flight have to finish."""
    body = shapes.verb_out(await services(request).runs.pause(caller, bare("run_", run_id)))
    return Json(body, 200 if body["status"] == "paused" else 202)


@router.post(
    "/runs/{run_id}/resume",
    status_code=202,
    response_model=VerbOut,
    responses=errors(404, 409, *BODY),
)
async def resume_run(
    request: Request, caller: Operator, run_id: RunId, body: ResumeIn | None = None
) -> Json:
    """Let a paused, failed or cancelled run go on, after what is complete or from a step."""
    row = await services(request).runs.resume(
        caller, bare("run_", run_id), body.from_step if body else None
    )
    return Json(shapes.verb_out(row), 202)


@router.get(
    "/runs/{run_id}/stream",
    response_model=None,
    response_class=Stream,
    responses=errors(404, 429),
)
async def stream_run(
    request: Request, caller: Viewer, run_id: RunId, last_event_id: LastEventId = 0
) -> Response:
    """Every event of a run as Server-Sent Events: the past first, then live, until it is over."""
    return await stream(request, caller, bare("run_", run_id), last_event_id)


@router.post(
    "/{workflow_id}/run",
    status_code=202,
    response_model=StartedOut,
    responses=errors(404, 409, *BODY),
)
async def run_workflow(
    request: Request,
    caller: Runner,
    workflow_id: WorkflowId,
    body: RunIn | None = None,
    idempotency_key: IdempotencyKey = None,
) -> Json:
    """Start a run; answers at once, and the run stays queued while Temporal is away."""
    workflow = bare("wf_", workflow_id)
    body = body or RunIn()
    answered = await services(request).runs.start(
        caller,
        Start(workflow, body.input_data, body.trigger, surface="full_engine"),
        once(
            request.headers.getlist("idempotency-key"),
            f"POST /api/workflows/{workflow}/run",
            body.model_dump(),
        ),
        _started,
    )
    headers = {"Location": f"/api/workflows/runs/{spelled('run_', answered.run_id)}"}
    if answered.replayed:
        headers["Idempotent-Replayed"] = "true"
    return Json(answered.body, answered.status, headers)


def _started(run: RunRow) -> Answered:
    body = StartedOut(run_id=spelled("run_", run.id))
    return Answered(run.id, 202, to_json(body))


@router.get("/{workflow_id}/runs", response_model=RunsOut, responses=errors(404))
async def list_runs(
    request: Request,
    caller: Viewer,
    workflow_id: WorkflowId,
    status: RunState | None = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> Json:
    """List the runs of a workflow, newest first."""
    wanted = [canonical for canonical, state in RUN_STATES.items() if state == status]
    rows, total = await services(request).runs.page(
        caller, bare("wf_", workflow_id), wanted, limit, offset
    )
    return Json(RunsOut(runs=[shapes.run_out(row) for row in rows], total=total))
