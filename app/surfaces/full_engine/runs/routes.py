"""/api/workflows: starting, steering and watching runs; literal segments come first."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response

from app.envelope import Json, Operator, Runner, Viewer, envelope, services, to_json
from app.services.once import Answered, once
from app.services.runs import Start
from app.surfaces.full_engine.errors import BODY, errors, render
from app.surfaces.full_engine.runs import shapes
from app.surfaces.full_engine.runs.schemas import (
    OVER,
    DeletedOut,
    ResumeIn,
    RunIn,
    StartedOut,
    VerbOut,
)
from app.surfaces.full_engine.runs.watching import Stream, finished, stream
from app.surfaces.full_engine.wire import RunId, WorkflowId, bare, spelled
from store.runs import RunRow

router = APIRouter(prefix="/api/workflows", tags=["runs"], route_class=envelope(render))

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="1 to 255 printable ASCII characters. The same key and body within 24 hours "
        "get the first answer again, marked `Idempotent-Replayed: true`.",
    ),
]
Wait = Annotated[
    int | None,
    Query(
        ge=1,
        le=60,
        description="Seconds to wait for the end of the run: 200 with the run when it is over by "
        "then, else 202 with the run as it is.",
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


@router.post("/runs/{run_id}/terminate", response_model=VerbOut, responses=errors(404, 409))
async def terminate_run(request: Request, caller: Operator, run_id: RunId) -> Json:
    """End a run at once, also when no worker is alive to cancel it; once cancelled it stays so."""
    row = await services(request).runs.terminate(caller, bare("run_", run_id))
    return Json(shapes.verb_out(row))


@router.delete("/runs/{run_id}", response_model=DeletedOut, responses=errors(404, 409))
async def delete_run(request: Request, caller: Operator, run_id: RunId) -> Json:
    """Delete a run that is over, with its steps, events and outputs."""
    await services(request).runs.delete(caller, bare("run_", run_id))
    return Json(DeletedOut(success=True))


@router.post(
    "/{workflow_id}/run",
    status_code=202,
    response_model=StartedOut,
    responses={200: {"model": StartedOut}, **errors(404, 409, 429, *BODY)},
)
async def run_workflow(
    request: Request,
    caller: Runner,
    workflow_id: WorkflowId,
    body: RunIn | None = None,
    idempotency_key: IdempotencyKey = None,
    wait: Wait = None,
) -> Json:
    """Start a run; answers at once, or with `wait` when the run is over or the time is up."""
    workflow = bare("wf_", workflow_id)
    body = body or RunIn()
    start = partial(
        services(request).runs.start,
        caller,
        Start(workflow, body.input_data, body.trigger, surface="full_engine"),
        once(
            request.headers.getlist("idempotency-key"),
            f"POST /api/workflows/{workflow}/run",
            body.model_dump(),
        ),
        _started,
    )
    if wait is None:
        answered, run = await start(), None
    else:
        with services(request).tail.seat(caller):
            answered = await start()
            run = await finished(request, caller, answered.made, wait)
    headers = {"Location": f"/api/workflows/runs/{spelled('run_', answered.made)}"}
    if answered.replayed:
        headers["Idempotent-Replayed"] = "true"
    if run is None:
        return Json(answered.body, answered.status, headers)
    content = StartedOut(run_id=run["id"], run=run)
    return Json(content, 200 if run["status"] in OVER else answered.status, headers)


def _started(run: RunRow) -> Answered:
    body = StartedOut(run_id=spelled("run_", run.id))
    return Answered(run.id, 202, to_json(body))
