"""/api/v1/workflows/{workflowId}: run over entities, and how far such a run is."""

from typing import Annotated

from fastapi import APIRouter, Path, Request

from app.envelope import Json, Runner, Viewer, envelope, services
from app.services.batches import LIST_NODES, Budget, StartBatch
from app.services.once import once
from app.services.spelling import bare
from app.surfaces.entity_batches.batches.schemas import BatchIn, BatchRunOut
from app.surfaces.entity_batches.errors import KEYED, errors, render
from app.surfaces.entity_batches.jobs.routes import accepted_out, started_out
from app.surfaces.entity_batches.jobs.schemas import STATUSES, StartedOut
from app.surfaces.entity_batches.jobs.shapes import completed, progress, started
from app.surfaces.entity_batches.wire import IN_PROJECT, IdempotencyKey, WorkflowId
from engine.lifecycle import RunStatus

router = APIRouter(
    prefix="/api/v1/workflows",
    tags=["batches"],
    route_class=envelope(render, LIST_NODES),
    dependencies=[IN_PROJECT],
)

RunId = Annotated[str, Path(alias="runId", description="That of the job.")]


@router.post(
    "/{workflowId}/run",
    status_code=202,
    response_model=StartedOut,
    responses=errors(404, 409, *KEYED),
)
async def run_over_entities(
    request: Request,
    caller: Runner,
    workflow_id: WorkflowId,
    body: BatchIn,
    idempotency_key: IdempotencyKey = None,
) -> Json:
    """Run a workflow over entities: all of them, or none when one of them is not there."""
    workflow = bare("", workflow_id)
    budget = body.error_budget
    answered = await services(request).batches.start(
        caller,
        StartBatch(
            workflow_id=workflow,
            entity_ids=body.entity_ids,
            all_entities=body.all_entities,
            concurrency=body.concurrency,
            input=body.input,
            budget=Budget() if budget is None else budget.budget,
        ),
        once(
            request.headers.getlist("idempotency-key"),
            f"POST /api/v1/workflows/{workflow}/run",
            await request.json(),
        ),
        started_out,
    )
    return accepted_out(answered)


@router.get("/{workflowId}/runs/{runId}", response_model=BatchRunOut, responses=errors(404))
async def get_run_status(
    request: Request, caller: Viewer, workflow_id: WorkflowId, run_id: RunId
) -> Json:
    """How far a run of the workflow is."""
    job = await services(request).jobs.get(caller, bare("", run_id), bare("", workflow_id))
    run = job.run
    return Json(
        BatchRunOut(
            id=run.id,
            status=STATUSES[run.status],
            paused=run.status is RunStatus.PAUSED,
            progress=progress(run, job.batch),
            startedAt=started(run),
            completedAt=completed(run),
        )
    )
