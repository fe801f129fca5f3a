"""/v1/assessments: begin an assessment of a vendor, with a workflow or without; contracts A-5."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request

from app.envelope import Json, Operator, Runner, Viewer, envelope, services, to_json
from app.services.assessments import Wanted
from app.services.once import Answered, once_for_any_body
from app.surfaces.run_by_name.assessments.schemas import (
    AssessmentHeadOut,
    AssessmentIn,
    AssessmentOut,
    AssessmentsOut,
    CreatedAssessmentOut,
    DeletedAssessmentOut,
)
from app.surfaces.run_by_name.errors import BODY, UncodedOut, errors, render
from app.surfaces.run_by_name.wire import IdempotencyKey, bare, seconds, spelled
from store.assessments import AssessmentRow

router = APIRouter(prefix="/v1/assessments", tags=["assessments"], route_class=envelope(render))

AssessmentId = Annotated[str, Path(description="`cbqsrw_` and 32 hex digits.")]


@router.post(
    "",
    status_code=201,
    response_model=CreatedAssessmentOut,
    responses={**errors(404, 409, *BODY), 400: {"model": UncodedOut}},
)
async def create_assessment(
    request: Request, caller: Runner, body: AssessmentIn, idempotency_key: IdempotencyKey = None
) -> Json:
    """Begin an assessment, and start the workflow that `trigger_workflow` names."""
    wanted = Wanted(
        vendor_id=body.vendor_id,
        control_set_ids=body.control_set_ids,
        name=body.name,
        service_ids=body.service_ids,
        supporting_document_ids=body.supporting_document_ids,
        assignee_id=body.assignee_id,
        workflow=body.trigger_workflow,
    )
    once = once_for_any_body(request.headers.getlist("idempotency-key"), "POST /v1/assessments")
    answered = await services(request).assessments.create(caller, wanted, once, _created)
    headers = {"Idempotent-Replayed": "true"} if answered.replayed else {}
    return Json(answered.body, answered.status, headers)


@router.get("", response_model=AssessmentsOut, responses=errors())
async def list_assessments(
    request: Request,
    caller: Viewer,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    offset: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
) -> Json:
    """List assessments that were not deleted, newest first."""
    rows, total = await services(request).assessments.page(caller, limit, offset)
    return Json(
        AssessmentsOut(items=[_out(row) for row in rows], total=total, limit=limit, offset=offset)
    )


@router.get("/{assessment_id}", response_model=AssessmentOut, responses=errors(404))
async def get_assessment(request: Request, caller: Viewer, assessment_id: AssessmentId) -> Json:
    """An assessment, also one that was deleted."""
    row = await services(request).assessments.get(caller, bare("cbqsrw_", assessment_id))
    return Json(_out(row))


@router.delete("/{assessment_id}", response_model=DeletedAssessmentOut, responses=errors(404))
async def delete_assessment(
    request: Request, caller: Operator, assessment_id: AssessmentId
) -> Json:
    """Delete an assessment and cancel its live runs; twice is as good as once."""
    row = await services(request).assessments.delete(caller, bare("cbqsrw_", assessment_id))
    return Json(
        DeletedAssessmentOut(
            id=spelled("cbqsrw_", row.id),
            status="canceled",
            is_archived=True,
            archived_at=seconds(row.archived_at or row.updated_at),
        )
    )


def _created(row: AssessmentRow) -> Answered:
    run = None if row.run_id is None else spelled("cbwr_", row.run_id)
    return Answered(row.id, 201, to_json(CreatedAssessmentOut(**_head(row), workflow_run_id=run)))


def _out(row: AssessmentRow) -> AssessmentOut:
    return AssessmentOut(**_head(row), custom_fields={})


def _head(row: AssessmentRow) -> AssessmentHeadOut:
    return AssessmentHeadOut(
        id=spelled("cbqsrw_", row.id),
        vendor_id=spelled("cbvndr_", row.vendor_id),
        name=row.name,
        status=row.status,
        control_set_ids=row.control_set_ids,
        service_ids=[spelled("cbsvc_", one) for one in row.service_ids],
        assignee_id=row.assignee_id,
        score_percent=None,
        findings_count=None,
        initiated_at=None,
        created_at=seconds(row.created_at),
        updated_at=seconds(row.updated_at),
    )
