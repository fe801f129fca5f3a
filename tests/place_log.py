"""Who held a place when, computed from the log of events alone.

`run_started`, where no `run_admitted` came before it, and `run_admitted` take a place;
`run_parked`, `run_paused` and `run_completed` free it. A run wants one from `run_queued` or
`run_resumed` on, and has waited for it since it was accepted. Source:
docs/reference/api-workflows.md.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from store.events import EventRow
from store.runs import RunHead

WANTS = frozenset({"run_queued", "run_resumed"})
TAKES = frozenset({"run_started", "run_admitted"})
FREES = frozenset({"run_parked", "run_paused", "run_completed"})


@dataclass
class Found:
    """What the log says of one organisation.

    Attributes:
        most: places that were held at the same time.
        taken: how often a place was taken.
        returned: how often by a run that had given its place back before.
        held: runs that hold one at the end.
        passed_over: who took a place that somebody else had waited longer for, and whose it was.
    """

    most: int = 0
    taken: int = 0
    returned: int = 0
    held: set[str] = field(default_factory=set)
    passed_over: list[tuple[str, list[str]]] = field(default_factory=list)


def read(rows: Iterable[RunHead], logs: Mapping[str, list[EventRow]], limit: int) -> Found:
    """Go through the logs of all runs of an organisation in the order of time.

    First in, first out: whoever takes a place leaves one for each that has waited longer and wants
    one at that moment.
    """
    age = {row.id: (row.queued_at, row.id) for row in rows}
    events = [event for run_id in age for event in logs[run_id]]
    wanting: set[str] = set()
    back: set[str] = set()
    found = Found()
    for event in sorted(events, key=lambda event: (event.at, event.type not in FREES)):
        run_id = event.run_id
        if event.type in WANTS:
            wanting.add(run_id)
        elif event.type in FREES:
            wanting.discard(run_id)
            found.held.discard(run_id)
            if event.type == "run_parked":
                back.add(run_id)
        elif event.type in TAKES and run_id not in found.held:
            longer = sorted(other for other in wanting - {run_id} if age[other] < age[run_id])
            if len(found.held) + len(longer) >= limit and longer:
                found.passed_over.append((run_id, longer))
            wanting.discard(run_id)
            found.held.add(run_id)
            found.taken += 1
            found.returned += run_id in back
            found.most = max(found.most, len(found.held))
    return found
