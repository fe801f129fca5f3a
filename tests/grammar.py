"""What every event log of a run has to be like, whatever happened to the run."""

from collections.abc import Sequence

from engine.lifecycle import TERMINAL, EventType, RunStatus
from store.events import EventRow

E = EventType
#: What may follow on what, of the run itself.
_RUN: dict[EventType | None, set[EventType]] = {
    None: {E.RUN_QUEUED},
    E.RUN_QUEUED: {E.RUN_STARTED, E.RUN_PAUSED, E.RUN_COMPLETED},
    E.RUN_RESUMED: {E.RUN_STARTED, E.RUN_PAUSED, E.RUN_COMPLETED},
    E.RUN_STARTED: {E.RUN_PAUSED, E.RUN_COMPLETED},
    E.RUN_PAUSED: {E.RUN_RESUMED, E.RUN_COMPLETED},
    E.RUN_COMPLETED: {E.RUN_RESUMED},
}
#: Of its place; `tests/place_log.py` judges those.
_PLACE = {E.RUN_ADMITTED, E.RUN_PARKED}
_STEP = {kind for kind in EventType if kind.startswith("step_")}
_SETTLED = {E.STEP_COMPLETED, E.STEP_SKIPPED}


def check_log(log: Sequence[EventRow], status: RunStatus) -> None:
    """Assert that the log is in order and tells of this end.

    Numbers without gaps; exactly one `run_completed` in each execution that ended, and nothing
    after it but a resume; steps only while the run is carried out, or given up with it; what
    completed or was skipped stays so until a resume.
    """
    assert [event.seq for event in log] == list(range(1, len(log) + 1))
    run: EventType | None = None
    ends = 0
    steps: dict[tuple[str | None, str], EventType] = {}
    for event in log:
        if event.type in _STEP:
            place = (event.step_id, event.iteration)
            over = run is E.RUN_PAUSED and event.type is E.STEP_CANCELLED
            assert run is E.RUN_STARTED or over, (event, run)
            assert steps.get(place) not in _SETTLED, (event, steps[place])
            if event.type is E.STEP_COMPLETED:
                assert steps.get(place) in (E.STEP_STARTED, E.STEP_WAITING), event
            steps[place] = event.type
            continue
        if event.type is E.BATCH_PROGRESS:
            assert run is E.RUN_STARTED, (event, run)
            continue
        if event.type in _PLACE or (event.type is E.RUN_QUEUED and run is E.RUN_STARTED):
            # Given and given back; a run that goes on and finds no room queues once more.
            assert run in (E.RUN_QUEUED, E.RUN_RESUMED, E.RUN_STARTED), (event, run)
            continue
        assert event.type in _RUN[run], (event, run)
        run = event.type
        if run is E.RUN_COMPLETED:
            ends += 1
            assert event.data["status"] in TERMINAL
        if run is E.RUN_RESUMED:
            # A wait goes on over a pause.
            steps = {place: told for place, told in steps.items() if told is E.STEP_WAITING}
    executions = 1 + sum(event.type is E.RUN_RESUMED for event in log)
    assert ends <= executions
    if status in TERMINAL:
        assert run is E.RUN_COMPLETED
        assert log[-1].type is E.RUN_COMPLETED
        assert log[-1].data["status"] == status
    if status is RunStatus.PAUSED:
        assert run is E.RUN_PAUSED
