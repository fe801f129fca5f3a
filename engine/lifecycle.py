"""The states of runs and steps, which moves are legal, and the names of what is told about them.

    queued ──► running ──► completed
      │  ▲        │  ├───► failed ────┐
      │  │        │  └───► cancelled ─┤ resume: execution n+1
      │  │        ▼                   │
      │  └──── paused ◄─ ─ ─ ─ ─ ─ ─ ─┘
      └─────► cancelled

A resumed run is queued again, whatever it was resumed from. A run that only waits is running,
without a place. Source: DESIGN §2 and §3.
"""

from enum import StrEnum


class RunStatus(StrEnum):
    """Where a run stands."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class StepStatus(StrEnum):
    """Where one step of a run stands."""

    PENDING = "pending"
    RUNNING = "running"
    #: Its timer, poll, retry delay or items are what is going on; no activity of its own runs.
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


class EventType(StrEnum):
    """What a run's event log can say."""

    RUN_STARTED = "run_started"
    STEP_STARTED = "step_started"
    STEP_COMPLETED = "step_completed"
    STEP_FAILED = "step_failed"
    STEP_SKIPPED = "step_skipped"
    STEP_WAITING = "step_waiting"
    STEP_CANCELLED = "step_cancelled"
    #: It waits for a place: from the beginning, or again after it was parked.
    RUN_QUEUED = "run_queued"
    #: A place was given to it, or taken again; not told where `run_started` takes it.
    RUN_ADMITTED = "run_admitted"
    #: It only waits and has given its place back.
    RUN_PARKED = "run_parked"
    RUN_PAUSED = "run_paused"
    RUN_RESUMED = "run_resumed"
    #: How many of the entities of a batch are through.
    BATCH_PROGRESS = "batch_progress"
    RUN_COMPLETED = "run_completed"


class Intent(StrEnum):
    """What an operator asked for and the run has not carried out yet."""

    PAUSE = "pause"
    CANCEL = "cancel"
    #: The row is closed already; what is left is to end the execution in Temporal.
    TERMINATE = "terminate"


class DefinitionStatus(StrEnum):
    """What a workflow may do. Source: contracts C-q4."""

    DRAFT = "draft"
    ACTIVE = "active"
    PAUSED = "paused"
    ARCHIVED = "archived"


#: The execution is over; only a resume leads on from here.
TERMINAL = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED})
#: States that a run can be resumed from.
RESUMABLE = frozenset({RunStatus.PAUSED, RunStatus.FAILED, RunStatus.CANCELLED})
#: Nothing leaves these within one generation of a step.
STEP_SETTLED = frozenset({StepStatus.COMPLETED, StepStatus.SKIPPED})
STEP_TERMINAL = STEP_SETTLED | {StepStatus.FAILED, StepStatus.CANCELLED}
