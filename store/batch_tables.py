"""The tables of batches: runs that have one lane for each entity, and where content is published.

Same rules as in `store.tables`, whose metadata they share. Source: DESIGN §2; contracts §2.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

from store.tables import metadata

#: What a run knows beside its own row when it is a batch. The counters only rise.
batches = Table(
    "batches",
    metadata,
    Column("run_id", String(32), ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    #: The type of its entities, which may be gone by now.
    Column("type_id", String(32), nullable=False),
    Column("total", Integer, nullable=False),
    Column("completed", Integer, nullable=False, server_default=text("0")),
    Column("failed", Integer, nullable=False, server_default=text("0")),
    #: For each step `[completed, failed, skipped]`, as a JSON object.
    Column("steps", Text, nullable=False, server_default=text("'{}'")),
    #: What models were asked and have answered, as in `step_runs`; NULL when nothing was asked.
    Column("usage", Text),
    #: Lanes that one activity sees to, and how many may be under way at the same time.
    Column("window_size", Integer, nullable=False),
    Column("concurrency", Integer, nullable=False),
    #: How many may fail in one execution before nothing more begins, and whether it pauses then.
    Column("max_failures", Integer),
    Column("on_budget", String(16), nullable=False),
    #: The batch whose failed entities these are.
    Column("retry_of", String(32)),
    #: The execution that is under way: when it began, with which counters, and why it begins
    #: nothing more.
    Column("began_at", BigInteger),
    Column("began_done", Integer, nullable=False, server_default=text("0")),
    Column("began_failed", Integer, nullable=False, server_default=text("0")),
    Column("halted", Boolean, nullable=False, server_default=false()),
    #: When the log of events was last told of the counters, and how many lanes were over then.
    Column("told_at", BigInteger),
    Column("told_done", Integer, nullable=False, server_default=text("0")),
)

#: One entity of a batch.
lanes = Table(
    "lanes",
    metadata,
    Column("run_id", String(32), ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("lane", Integer, primary_key=True),
    Column("entity_id", String(32), nullable=False),
    #: `pending`, `running`, `completed` or `failed`; the last two are for ever.
    Column("status", String(16), nullable=False),
    #: Where it stands between two steps: `engine.facts.Facts`, and the outputs so far.
    Column("facts", Text),
    Column("outputs", Text),
    #: The step that it is at, or that it has failed at.
    Column("step_id", String(64)),
    #: How many attempts of steps were made.
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    #: `{"code", "message"}`.
    Column("error", Text),
    #: What happened on the way: a list of `engine.batch.Note`.
    Column("notes", Text),
    #: What the last step that completed has answered.
    Column("output", Text),
    Column("started_at", BigInteger),
    Column("completed_at", BigInteger),
    Index(None, "run_id", "status", "lane"),
)

#: Where `publish` steps put content, by name.
buckets = Table(
    "buckets",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("org_id", String(32), ForeignKey("organisations.id"), nullable=False),
    Column("name", String(100), nullable=False),
    #: What it is and where: no secrets, but the names of some.
    Column("spec", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    UniqueConstraint("org_id", "name"),
)
