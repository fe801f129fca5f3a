"""The judge of the tests of places, by logs that are wrong: it sees what it is there to see."""

from dataclasses import replace

from engine.lifecycle import EventType, RunStatus
from store.events import EventRow
from store.runs import RunRow
from tests import place_log

ROW = RunRow(
    id="",
    org_id="o",
    workflow_id="w",
    workflow_name="w",
    version=1,
    surface="full_engine",
    trigger="manual",
    input={},
    status=RunStatus.RUNNING,
    intent=None,
    n=1,
    temporal_id="",
    from_step=None,
    output=None,
    output_blob=None,
    error=None,
    admitted=False,
    queued_at=0,
    dispatched_at=None,
    seq=0,
    created_at=0,
    started_at=None,
    completed_at=None,
    updated_at=0,
    parked=False,
    parkings=0,
    parent_run_id=None,
    parent_step_id=None,
    parent_iteration=None,
    awaited=False,
    depth=0,
    schedule_id=None,
    scheduled_at=None,
    event_id=None,
    lanes=None,
)


def judged(*told: str, limit: int = 1) -> place_log.Found:
    """What the judge finds in a log like `a queued`, `b queued`, `a started`, in this order."""
    events: dict[str, list[EventRow]] = {}
    for at, line in enumerate(told):
        run_id, _, name = line.partition(" ")
        event = EventRow(run_id, at, EventType(f"run_{name}"), None, "", {}, at)
        events.setdefault(run_id, []).append(event)
    rows = [replace(ROW, id=run_id, queued_at=log[0].at) for run_id, log in events.items()]
    return place_log.read(rows, events, limit)


def test_places_that_are_handed_on_in_order() -> None:
    found = judged(
        *("a queued", "b queued", "a started", "a parked", "b admitted", "b started"),
        *("c queued", "a queued", "b completed", "a admitted", "a completed", "c started"),
    )
    assert (found.most, found.taken, found.returned) == (1, 4, 1)
    assert (found.held, found.passed_over) == ({"c"}, [])


def test_one_too_many() -> None:
    assert judged("a queued", "a started", "b queued", "b started").most == 2
    # It was given its place, and begins only later.
    assert judged("a queued", "a admitted", "a started").most == 1


def test_who_is_passed_over() -> None:
    assert judged("a queued", "b queued", "b started").passed_over == [("b", ["a"])]
    # There is a place for the older one as well.
    assert judged("a queued", "b queued", "b started", limit=2).passed_over == []
    told = ("a queued", "a started", "b queued", "a parked", "b started", "c queued")
    # Who only waits is passed over by right; who wants a place again is not.
    assert judged(*told, "b completed", "c started").passed_over == []
    assert judged(*told, "a queued", "b completed", "c started").passed_over == [("c", ["a"])]
