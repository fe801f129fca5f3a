"""Turns schedules into what is answered."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from app.services.schedules import Preview, View
from app.surfaces.full_engine.schedules.schemas import PreviewOut, ScheduleOut, TimeOut
from app.surfaces.full_engine.wire import iso, maybe_iso, spelled


def schedule_out(view: View) -> ScheduleOut:
    """A schedule."""
    row, terms = view.row, view.row.terms
    return ScheduleOut(
        id=spelled("sched_", row.id),
        workflow_id=spelled("wf_", row.workflow_id),
        cron_expression=terms.cron_expression,
        timezone=terms.timezone,
        input_data=terms.input,
        enabled=row.enabled,
        overlap=terms.overlap,
        catchup_window=terms.catchup_window,
        paused=terms.paused,
        note=terms.note,
        next_run_at=maybe_iso(view.next_run_at),
        last_run_at=maybe_iso(row.last_run_at),
        created_at=iso(row.created_at),
        updated_at=iso(row.updated_at),
    )


def preview_out(preview: Preview) -> PreviewOut:
    """The next times of a schedule."""
    row = preview.row
    zone = ZoneInfo(row.terms.timezone)
    return PreviewOut(
        schedule_id=spelled("sched_", row.id),
        timezone=row.terms.timezone,
        enabled=row.enabled,
        times=[TimeOut(at=iso(time), local=_local(time, zone)) for time in preview.times],
        more=preview.more,
    )


def _local(micros: int, zone: ZoneInfo) -> str:
    return datetime.fromtimestamp(micros // 1_000_000, UTC).astimezone(zone).isoformat()
