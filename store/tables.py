"""The tables. Times are integer microseconds since 1970, UTC; ids are 32 hex digits (UUIDv7).

JSON is kept as text that this room encodes itself, so that both databases give back the same bytes
and nothing is decoded that nobody reads.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

organisations = Table(
    "organisations",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(200), nullable=False, unique=True),
    Column("created_at", BigInteger, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    #: What the key is looked up by; derived from the key and no secret.
    Column("id", String(32), primary_key=True),
    Column("org_id", String(32), ForeignKey("organisations.id"), nullable=False),
    Column("name", String(200), nullable=False),
    Column("role", String(16), nullable=False),
    #: HMAC-SHA256 of the whole key under the deployment's pepper, in hex.
    Column("digest", String(64), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("last_used_at", BigInteger),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
    Column("revoked_reason", String(500)),
    #: The key that made it; NULL where the command line or the deployment did.
    Column("created_by", String(32)),
    Index(None, "org_id"),
)

#: Every call whose key was known. Never a body, a value of a query, or a header.
audit = Table(
    "audit",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("org_id", String(32), ForeignKey("organisations.id"), nullable=False),
    Column("at", BigInteger, nullable=False),
    #: As the key was called then; keys are renamed by rotation.
    Column("key_id", String(32), nullable=False),
    Column("key_name", String(200), nullable=False),
    Column("method", String(16), nullable=False),
    #: With `{names}` of parameters in it.
    Column("route", String(200), nullable=False),
    #: As it was sent, still percent-encoded, cut off at this length.
    Column("path", String(1000), nullable=False),
    #: A JSON list of the names of query parameters.
    Column("parameters", Text, nullable=False),
    #: NULL when the caller went before an answer began.
    Column("status", Integer),
    Column("duration_ms", Integer, nullable=False),
    Column("client_ip", String(64)),
    Column("correlation_id", String(128), nullable=False),
    Index(None, "org_id", "at"),
    Index(None, "org_id", "key_id", "at"),
    Index(None, "at"),
)

workflows = Table(
    "workflows",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("org_id", String(32), ForeignKey("organisations.id"), nullable=False),
    Column("name", String(200), nullable=False),
    Column("description", Text),
    Column("status", String(16), nullable=False),
    Column("trigger_type", String(16), nullable=False),
    Column("tags", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("deleted_at", BigInteger),
    #: The event that starts it, and under which conditions: an expression or a tree, as JSON.
    Column("trigger_event", String(200)),
    Column("trigger_conditions", Text),
    Index(None, "org_id", "name"),
    Index(None, "org_id", "created_at"),
    Index(
        None,
        "org_id",
        "trigger_event",
        sqlite_where=text("trigger_event IS NOT NULL"),
        postgresql_where=text("trigger_event IS NOT NULL"),
    ),
)

#: Immutable. A version outlives its workflow while a run pins it.
versions = Table(
    "versions",
    metadata,
    Column("workflow_id", String(32), ForeignKey("workflows.id"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("definition", Text, nullable=False),
    Column("change_summary", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

runs = Table(
    "runs",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("org_id", String(32), ForeignKey("organisations.id"), nullable=False),
    Column("workflow_id", String(32), ForeignKey("workflows.id"), nullable=False),
    Column("workflow_name", String(200), nullable=False),
    Column("version", Integer, nullable=False),
    #: Which surface the run was started on, and by what: `manual`, `api`, `schedule`, `event` …
    Column("surface", String(16), nullable=False),
    Column("trigger", String(64), nullable=False),
    Column("input", Text, nullable=False),
    Column("status", String(16), nullable=False),
    #: What an operator asked for and the execution has not carried out yet (`Intent`).
    Column("intent", String(16)),
    #: The number of the latest execution, and the Temporal workflow id that it has.
    Column("n", Integer, nullable=False, server_default=text("1")),
    Column("temporal_id", String(64), nullable=False),
    Column("from_step", String(64)),
    Column("output", Text),
    Column("output_blob", String(32)),
    Column("error", Text),
    #: Holds one of the organisation's places.
    Column("admitted", Boolean, nullable=False, server_default=false()),
    #: Since when it has been asking for a place; a resumed run keeps its first place in the line.
    Column("queued_at", BigInteger, nullable=False),
    Column("dispatched_at", BigInteger),
    #: The last sequence number given to an event of this run.
    Column("seq", Integer, nullable=False, server_default=text("0")),
    Column("created_at", BigInteger, nullable=False),
    Column("started_at", BigInteger),
    Column("completed_at", BigInteger),
    Column("updated_at", BigInteger, nullable=False),
    #: Runs without a place on purpose: it only waits, and asks for one when it goes on.
    #: With a place: one was given, and the execution has not taken note of it.
    Column("parked", Boolean, nullable=False, server_default=false()),
    #: How often it has given its place back, so that what comes too late is known.
    Column("parkings", Integer, nullable=False, server_default=text("0")),
    #: The step that started it, and whether that step waits for its end (`awaited`).
    Column("parent_run_id", String(32)),
    Column("parent_step_id", String(64)),
    Column("parent_iteration", String(64)),
    Column("awaited", Boolean, nullable=False, server_default=false()),
    #: How many runs started one another before this one.
    Column("depth", Integer, nullable=False, server_default=text("0")),
    #: The schedule that started it, and the time that it was due.
    Column("schedule_id", String(32)),
    Column("scheduled_at", BigInteger),
    #: The published event that started it.
    Column("event_id", String(32)),
    #: How many entities it is for, where it is a batch; see `store.batch_tables`.
    Column("lanes", Integer),
    Index(None, "org_id", "created_at"),
    Index(None, "workflow_id", "created_at"),
    Index(
        None,
        "parent_run_id",
        sqlite_where=text("parent_run_id IS NOT NULL"),
        postgresql_where=text("parent_run_id IS NOT NULL"),
    ),
    Index(
        None,
        "schedule_id",
        "created_at",
        sqlite_where=text("schedule_id IS NOT NULL"),
        postgresql_where=text("schedule_id IS NOT NULL"),
    ),
    Index(
        None,
        "event_id",
        sqlite_where=text("event_id IS NOT NULL"),
        postgresql_where=text("event_id IS NOT NULL"),
    ),
    Index(
        "ix_runs_with_intent",
        "updated_at",
        sqlite_where=text("intent IS NOT NULL"),
        postgresql_where=text("intent IS NOT NULL"),
    ),
    Index(None, "org_id", "status", "queued_at"),
    Index(None, "status", "updated_at"),
)

#: One row for a step in an iteration: its latest generation. It is the journal of the step.
step_runs = Table(
    "step_runs",
    metadata,
    Column("run_id", String(32), ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("step_id", String(64), primary_key=True),
    #: The index in each loop around it, as in `3.0`; empty at the top.
    Column("iteration", String(64), primary_key=True),
    Column("n", Integer, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("status", String(16), nullable=False),
    #: The recorded `engine.outcomes.Answer`, without data.
    Column("answer", Text),
    Column("output", Text),
    Column("output_blob", String(32)),
    Column("output_size", Integer, nullable=False, server_default=text("0")),
    #: A loop's items, until and after it is complete.
    Column("items", Text),
    Column("items_blob", String(32)),
    Column("item_count", Integer),
    #: `{"code", "message"}` of the last failure, or `{"reason"}` of a skip.
    Column("error", Text),
    #: The worker that began the latest attempt.
    Column("worker", String(64)),
    #: What a model was asked and answered, as counts of requests and tokens, over all attempts.
    Column("usage", Text),
    #: What it used and what it made: a list of `engine.outcomes.Artifact`, or NULL.
    Column("artifacts", Text),
    Column("wake_at", BigInteger),
    Column("started_at", BigInteger),
    Column("completed_at", BigInteger),
    Column("updated_at", BigInteger, nullable=False),
)

#: The one log that streams, job logs and outgoing webhooks read; gap-free within a run.
run_events = Table(
    "run_events",
    metadata,
    Column("run_id", String(32), ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("type", String(32), nullable=False),
    Column("step_id", String(64)),
    Column("iteration", String(64)),
    Column("data", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
)

#: What starts a workflow at a time. Temporal has a Schedule of the same id once it is in step.
schedules = Table(
    "schedules",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("org_id", String(32), ForeignKey("organisations.id"), nullable=False),
    Column("workflow_id", String(32), ForeignKey("workflows.id"), nullable=False),
    #: Five fields as they were written, which Temporal does not give back; or the one time.
    Column("cron_expression", String(255)),
    Column("run_at", BigInteger),
    Column("timezone", String(64), nullable=False),
    Column("input", Text, nullable=False),
    Column("overlap", String(16), nullable=False),
    #: Seconds after its time that a start which was missed is still made.
    Column("catchup_window", Integer, nullable=False),
    Column("paused", Boolean, nullable=False, server_default=false()),
    Column("note", Text),
    #: Rises with every change; Temporal has been told of `synced`.
    Column("revision", Integer, nullable=False, server_default=text("1")),
    Column("synced", Integer, nullable=False, server_default=text("0")),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    #: Deleted here, and gone altogether once Temporal has deleted its own.
    Column("deleted_at", BigInteger),
    #: What became of a start at one time: it was made, or it was given up and why.
    Column("fired_at", BigInteger),
    Column("canceled_at", BigInteger),
    Column("cancel_reason", String(64)),
    Index(None, "workflow_id", "created_at"),
    Index(
        "ix_schedules_pending",
        "run_at",
        sqlite_where=text("run_at IS NOT NULL AND fired_at IS NULL AND canceled_at IS NULL"),
        postgresql_where=text("run_at IS NOT NULL AND fired_at IS NULL AND canceled_at IS NULL"),
    ),
)

#: An organisation's own templates; the builtin ones are files.
templates = Table(
    "templates",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("org_id", String(32), ForeignKey("organisations.id"), nullable=False),
    Column("name", String(200), nullable=False),
    Column("description", Text),
    Column("category", String(64), nullable=False),
    Column("definition", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index(None, "org_id", "created_at"),
)

agents = Table(
    "agents",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("org_id", String(32), ForeignKey("organisations.id"), nullable=False),
    Column("name", String(200), nullable=False),
    #: Model, instructions, tools, budget: what `activities` knows as an agent.
    Column("spec", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    UniqueConstraint("org_id", "name"),
)

#: Values that only activities read; encrypted under the key that `key_id` names.
secrets = Table(
    "secrets",
    metadata,
    Column("org_id", String(32), ForeignKey("organisations.id"), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("ciphertext", LargeBinary, nullable=False),
    Column("key_id", String(16), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)

#: Values too large for a row.
blobs = Table(
    "blobs",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("run_id", String(32), ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index(None, "run_id"),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("org_id", String(32), ForeignKey("organisations.id"), primary_key=True),
    #: Method and concrete path, so that two workflows never share a key.
    Column("endpoint", String(400), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("run_id", String(32)),
    #: The first answer; NULL until there is one to remember.
    Column("status_code", Integer),
    Column("body", LargeBinary),
    Column("created_at", BigInteger, nullable=False),
    Index(None, "created_at"),
)

workers = Table(
    "workers",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("started_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
)

leases = Table(
    "leases",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("holder", String(64), nullable=False),
    Column("until", BigInteger, nullable=False),
)
