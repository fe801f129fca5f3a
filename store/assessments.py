"""Assessments of vendors. One that is made is published, with the runs that it starts.

Whether somebody works on it is the business of the workflows that it starts. Source: contracts A-5.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue
from sqlalchemy import Row, func, or_, select, update

from engine.errors import Invalid, NotFound
from engine.records import CREATED, event_name, spelled_id
from store import entities, executions, publishing
from store.clock import now
from store.database import Tx
from store.places import LIVE
from store.publishing import NewEvent, Subject, Verdicts
from store.record_tables import assessments, published_events
from store.runs import RunRow
from store.tables import runs
from store.values import decode_strings, encode

TYPE = "Assessment"
#: How an assessment begins, and how one ends that was deleted.
NEW, CANCELED = "created", "canceled"
#: Characters of a name.
LONGEST_NAME = 200


@dataclass(frozen=True)
class AssessmentRow:
    """An assessment. Times are microseconds UTC; ids of records are bare.

    Attributes:
        run_id: the run that was started with it.
        archived_at: when it was deleted.
    """

    id: str
    org_id: str
    vendor_id: str
    name: str
    status: str
    control_set_ids: list[str]
    service_ids: list[str]
    supporting_document_ids: list[str]
    assignee_id: str | None
    run_id: str | None
    created_at: int
    updated_at: int
    archived_at: int | None


@dataclass(frozen=True)
class NewAssessment:
    """An assessment to make; `id` and `event_id` stay when it is made again after `Unjudged`.

    Attributes:
        name: that of the vendor when left out.
    """

    id: str
    event_id: str
    vendor_id: str
    name: str | None = None
    control_set_ids: Sequence[str] = ()
    service_ids: Sequence[str] = ()
    supporting_document_ids: Sequence[str] = ()
    assignee_id: str | None = None


def prepare(tx: Tx, org_id: str, new: NewAssessment, depth: int = 0) -> NewEvent:
    """The event that tells of it, once it is known that it can be made.

    Raises:
        Invalid: `vendor_not_found`, `service_not_found`.
    """
    vendor = entities.live(tx, org_id, "Vendor", new.vendor_id)
    if vendor is None:
        raise Invalid("Vendor not found.", code="vendor_not_found")
    for service_id in new.service_ids:
        if entities.live(tx, org_id, "Service", service_id) is None:
            raise Invalid("Service not found.", code="service_not_found")
    fields: dict[str, JsonValue] = {
        "name": (new.name or str(vendor.fields.get("name") or "Assessment"))[:LONGEST_NAME],
        "status": NEW,
        "vendor_id": spelled_id("Vendor", vendor.id),
        "control_set_ids": [*new.control_set_ids],
        "service_ids": [spelled_id("Service", service_id) for service_id in new.service_ids],
    }
    return NewEvent(
        event_name(TYPE, CREATED), {}, Subject(new.id, TYPE, fields), depth, new.event_id
    )


def create(
    tx: Tx,
    org_id: str,
    new: NewAssessment,
    event: NewEvent,
    verdicts: Verdicts,
    run_id: str | None = None,
) -> tuple[AssessmentRow, list[RunRow]]:
    """Make it; and the runs that it starts, `run_id` aside. None of its id is there.

    Args:
        tx: The transaction.
        org_id: Whose it is.
        new: What to make.
        event: What `prepare` has answered in this transaction.
        verdicts: See `store.publishing`.
        run_id: The run that is started with it.

    Raises:
        Unjudged: See `store.publishing`.
    """
    assert event.subject is not None
    started = publishing.publish(tx, org_id, [event], verdicts)
    at = now()
    tx.execute(
        assessments.insert().values(
            id=new.id,
            org_id=org_id,
            vendor_id=new.vendor_id,
            name=event.subject.fields["name"],
            status=NEW,
            control_set_ids=encode([*new.control_set_ids]),
            service_ids=encode([*new.service_ids]),
            supporting_document_ids=encode([*new.supporting_document_ids]),
            assignee_id=new.assignee_id,
            run_id=run_id,
            created_at=at,
            updated_at=at,
        )
    )
    return get(tx, org_id, new.id), started


def get(tx: Tx, org_id: str, assessment_id: str) -> AssessmentRow:
    """The assessment, also one that was deleted.

    Raises:
        NotFound: There is none, or it is another organisation's.
    """
    row = find(tx, assessment_id)
    if row is None or row.org_id != org_id:
        raise NotFound("Assessment not found.", code="assessment_not_found")
    return row


def find(tx: Tx, assessment_id: str) -> AssessmentRow | None:
    """The assessment of any organisation: for the worker, never for a request."""
    row = tx.execute(select(assessments).where(assessments.c.id == assessment_id)).one_or_none()
    return None if row is None else _row(row)


def page(tx: Tx, org_id: str, *, limit: int, offset: int) -> tuple[list[AssessmentRow], int]:
    """A page of those that were not deleted, newest first, and how many there are in all."""
    mine = (assessments.c.org_id == org_id, assessments.c.archived_at.is_(None))
    rows = tx.execute(
        select(assessments)
        .where(*mine)
        .order_by(assessments.c.created_at.desc(), assessments.c.id.desc())
        .limit(limit)
        .offset(offset)
    )
    total = tx.execute(select(func.count()).select_from(assessments).where(*mine)).scalar_one()
    return [_row(row) for row in rows], total


def archive(tx: Tx, org_id: str, assessment_id: str) -> tuple[AssessmentRow, list[RunRow]]:
    """Delete it and cancel its live runs, which are to be told; twice is as good as once.

    Its runs are the one that was started with it, and those that its events have started.

    Raises:
        NotFound: There is none.
    """
    get(tx, org_id, assessment_id)
    at = now()
    tx.execute(
        update(assessments)
        .where(assessments.c.id == assessment_id, assessments.c.archived_at.is_(None))
        .values(status=CANCELED, archived_at=at, updated_at=at)
    )
    row = get(tx, org_id, assessment_id)
    return row, [executions.cancel(tx, org_id, run_id) for run_id in _live_runs(tx, row)]


def _live_runs(tx: Tx, row: AssessmentRow) -> list[str]:
    about = select(published_events.c.id).where(
        published_events.c.id == runs.c.event_id,
        published_events.c.entity_id == row.id,
        published_events.c.entity_type == TYPE,
    )
    found = tx.execute(
        select(runs.c.id)
        .where(
            runs.c.org_id == row.org_id,
            runs.c.status.in_([*LIVE, "paused"]),
            or_(runs.c.id == row.run_id, about.exists()),
        )
        .order_by(runs.c.id)
    )
    return list(found.scalars())


def _row(row: Row[Any]) -> AssessmentRow:
    values = row._asdict()
    for name in ("control_set_ids", "service_ids", "supporting_document_ids"):
        values[name] = decode_strings(values[name])
    return AssessmentRow(**values)
