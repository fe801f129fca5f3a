"""/api/v1/jobs: runs, followed and steered; those over entities with what became of each."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import StreamingResponse

from app.envelope import Json, Operator, Runner, Viewer, envelope, services, to_json
from app.services.auth import Caller
from app.services.batches import Again
from app.services.once import Answered, once
from app.services.spelling import bare
from app.surfaces.entity_batches.batches.schemas import RetryIn
from app.surfaces.entity_batches.errors import BODY, KEYED, errors, render
from app.surfaces.entity_batches.jobs.schemas import (
    STATUSES,
    Category,
    EntityStatus,
    JobFullOut,
    JobRemovedOut,
    JobsOut,
    JobStatus,
    LaneOut,
    LanesOut,
    StartedOut,
)
from app.surfaces.entity_batches.jobs.shapes import (
    job_full_out,
    job_out,
    lane_out,
    table_head,
    table_rows,
)
from app.surfaces.entity_batches.wire import (
    IN_PROJECT,
    EntityId,
    IdempotencyKey,
    Limit,
    NothingIn,
    Offset,
    listed,
)
from engine.records import PREFIXES
from store import clock
from store.runs import RunRow, Wanted

router = APIRouter(
    prefix="/api/v1/jobs",
    tags=["jobs"],
    route_class=envelope(render),
    dependencies=[IN_PROJECT],
)

#: Events whose lines an answer has unless it was asked for others.
_LOGS = 200

JobId = Annotated[str, Path(alias="jobId", description="32 hex digits.")]
EntityState = Annotated[EntityStatus | None, Query(description="Only the entities that stand so.")]


class Csv(StreamingResponse):
    """A table that is written while it is read."""

    media_type = "text/csv"


@router.get("", response_model=JobsOut, responses=errors())
async def list_jobs(
    request: Request,
    caller: Viewer,
    status: Annotated[JobStatus | None, Query(description="Only those of this status.")] = None,
    category: Annotated[
        Category | None, Query(description="Only those of this kind; runs are `ai`.")
    ] = None,
    workflow_id: Annotated[
        str | None, Query(alias="workflowId", description="Also of one that was deleted.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    offset: Offset = 0,
) -> Json:
    """List jobs, newest first: the runs of all workflows, whatever has started them."""
    if category not in (None, "ai"):
        return Json(listed([], 0, offset))
    wanted = Wanted(
        workflow_id=None if workflow_id is None else bare("", workflow_id),
        statuses=[canonical for canonical, shown in STATUSES.items() if shown == status],
    )
    page = await services(request).jobs.page(caller, wanted, limit, offset)
    return Json(listed([job_out(job) for job in page.rows], page.total, offset))


@router.get("/{jobId}", response_model=JobFullOut, responses=errors(404))
async def get_job(
    request: Request,
    caller: Viewer,
    job_id: JobId,
    logs_limit: Annotated[
        int, Query(alias="logsLimit", ge=1, le=1_000, description="Events that are told of.")
    ] = _LOGS,
    logs_after: Annotated[
        int | None,
        Query(
            alias="logsAfter",
            ge=0,
            le=2**31 - 1,
            description="A `sequence`: the lines behind it, instead of the last ones.",
        ),
    ] = None,
) -> Json:
    """A job with its log, oldest line first."""
    view = await services(request).jobs.view(caller, bare("", job_id), logs_after, logs_limit)
    return Json(job_full_out(view, clock.now()))


@router.delete("/{jobId}", response_model=JobRemovedOut, responses=errors(404, 409))
async def delete_job(request: Request, caller: Operator, job_id: JobId) -> Json:
    """Delete a job that is over, with its log and what has become of its entities."""
    job = bare("", job_id)
    await services(request).runs.delete(caller, job)
    return Json(JobRemovedOut(id=job, deleted=True))


@router.post("/{jobId}/cancel", response_model=JobFullOut, responses=errors(404, 409, *BODY))
async def cancel_job(
    request: Request, caller: Operator, job_id: JobId, body: NothingIn | None = None
) -> Json:
    """Cancel a job, and wait up to two seconds for it; once cancelled it stays as it is."""
    run = await services(request).runs.cancel(caller, bare("", job_id))
    return await _job(request, caller, run)


@router.post(
    "/{jobId}/pause",
    response_model=JobFullOut,
    responses={202: {"model": JobFullOut}, **errors(404, 409, *BODY)},
)
async def pause_job(
    request: Request, caller: Operator, job_id: JobId, body: NothingIn | None = None
) -> Json:
    """Pause a job: 200 when it is paused, 202 while steps that are in flight have to finish."""
    run = await services(request).runs.pause(caller, bare("", job_id))
    return await _job(request, caller, run, unless_paused=202)


@router.post(
    "/{jobId}/resume",
    status_code=202,
    response_model=JobFullOut,
    responses=errors(404, 409, *BODY),
)
async def resume_job(
    request: Request, caller: Operator, job_id: JobId, body: NothingIn | None = None
) -> Json:
    """Let a paused, failed or cancelled job go on with the entities that are not through."""
    run = await services(request).runs.resume(caller, bare("", job_id), None)
    return await _job(request, caller, run, unless_paused=202)


@router.post(
    "/{jobId}/retry",
    status_code=202,
    response_model=StartedOut,
    responses=errors(404, 409, *KEYED),
)
async def retry_job(
    request: Request,
    caller: Runner,
    job_id: JobId,
    body: RetryIn | None = None,
    idempotency_key: IdempotencyKey = None,
) -> Json:
    """Start a job over the entities that have failed in this one, with its options or others."""
    job = bare("", job_id)
    wanted = body or RetryIn()
    budget = wanted.error_budget
    answered = await services(request).batches.retry(
        caller,
        Again(job, wanted.concurrency, None if budget is None else budget.budget),
        once(
            request.headers.getlist("idempotency-key"),
            f"POST /api/v1/jobs/{job}/retry",
            # An empty object says as little as no body.
            await request.json() or None,
        ),
        started_out,
    )
    return accepted_out(answered)


@router.get("/{jobId}/entities", response_model=LanesOut, responses=errors(404))
async def list_job_entities(
    request: Request,
    caller: Viewer,
    job_id: JobId,
    status: EntityState = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> Json:
    """List what has become of each entity of a job, in the order of the request."""
    page = await services(request).jobs.lanes(caller, bare("", job_id), status, limit, offset)
    return Json(listed([lane_out(row, over=page.over) for row in page.rows], page.total, offset))


@router.get("/{jobId}/entities/{entityId}", response_model=LaneOut, responses=errors(404))
async def get_job_entity(
    request: Request, caller: Viewer, job_id: JobId, written: EntityId
) -> Json:
    """What has become of one entity of a job."""
    prefix = next((one for one in PREFIXES.values() if written.startswith(one)), "")
    found = await services(request).jobs.lane(caller, bare("", job_id), bare(prefix, written))
    return Json(lane_out(found.rows[0], over=found.over))


@router.get("/{jobId}/entities.csv", response_model=None, response_class=Csv, responses=errors(404))
async def download_job_entities(
    request: Request, caller: Viewer, job_id: JobId, status: EntityState = None
) -> Csv:
    """The same as CSV, all of it."""
    job = bare("", job_id)
    over, lanes = await services(request).jobs.all_lanes(caller, job, status)

    async def text() -> AsyncIterator[str]:
        yield table_head()
        async for rows in lanes:
            yield table_rows(rows, over=over)

    return Csv(text(), headers={"Content-Disposition": f'attachment; filename="job-{job}.csv"'})


def started_out(run: RunRow) -> Answered:
    """The answer to who has started a job; contracts B-q1."""
    return Answered(run.id, 202, to_json(StartedOut(jobId=run.id, runId=run.id)))


def accepted_out(answered: Answered) -> Json:
    """The same with its headers."""
    headers = {"Location": f"/api/v1/jobs/{answered.made}"}
    if answered.replayed:
        headers["Idempotent-Replayed"] = "true"
    return Json(answered.body, answered.status, headers)


async def _job(request: Request, caller: Caller, run: RunRow, unless_paused: int = 200) -> Json:
    view = await services(request).jobs.view(caller, run.id, limit=_LOGS)
    body = job_full_out(view, clock.now())
    return Json(body, 200 if body["paused"] else unless_paused)
