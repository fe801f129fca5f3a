"""Opens the two databases in the one way that this room relies on.

SQLite: WAL, so that readers and the one writer do not wait for each other. The driver is kept from
opening transactions by itself; a write begins IMMEDIATE, because a transaction that reads first
and writes later can lose its snapshot to another writer and fails at once, without waiting.

PostgreSQL: a dead peer is noticed in seconds, and the server ends the transaction of a process
that stands still, so that its row locks do not hold up everybody else.
"""

import sqlite3
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

#: How long SQLite waits for another process's transaction.
BUSY_MS = 30_000

#: What every connection to PostgreSQL is opened with: seconds, and milliseconds for the last.
POSTGRESQL: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}


def parse(url: str) -> URL:
    """The database's address, with the driver that this room uses.

    Args:
        url: `sqlite:////path/file.db` or `postgresql://…`, also with `?host=` a socket's folder.

    Raises:
        ValueError: Another kind of database, or SQLite without a file. The text never holds the
            address, which may hold a password.
    """
    parsed = make_url(url)
    match parsed.get_backend_name():
        case "sqlite" if parsed.database and parsed.database != ":memory:":
            return parsed.set(drivername="sqlite+pysqlite")
        case "sqlite":
            raise ValueError("a SQLite address must name a file: sqlite:////path/file.db")
        case "postgresql" | "postgres":
            return parsed.set(drivername="postgresql+psycopg")
    raise ValueError("the database must be sqlite:// or postgresql://")


def sqlite_engine(
    url: URL, *, size: int, writes: bool, durable: bool = False, foreign_keys: bool = True
) -> Engine:
    """An engine on a SQLite file whose connections all read, or all write.

    Args:
        url: From `parse`.
        size: How many connections it may hold.
        writes: Transactions take the write lock when they begin.
        durable: A commit has reached the disk when it answers; otherwise the last commits can be
            lost with the machine's power, never with the process.
        foreign_keys: Off while migrations rebuild tables, which would delete what refers to them.
    """
    engine = create_engine(
        url,
        pool_size=size,
        max_overflow=0,
        connect_args={"check_same_thread": False, "timeout": BUSY_MS / 1000},
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        assert isinstance(connection, sqlite3.Connection)
        connection.isolation_level = None
        if connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        connection.execute(f"PRAGMA foreign_keys = {'ON' if foreign_keys else 'OFF'}")
        # A burst must not leave a log of its size on the disk for ever.
        connection.execute("PRAGMA journal_size_limit = 67108864")
        if not writes:
            connection.execute("PRAGMA query_only = ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def postgresql_engine(url: URL, *, size: int) -> Engine:
    """An engine on PostgreSQL.

    Args:
        url: From `parse`.
        size: How many connections it may hold.
    """
    engine = create_engine(
        url,
        pool_size=size,
        max_overflow=0,
        # The connection that served last serves next, so that the rest of the pool can go idle.
        pool_use_lifo=True,
        connect_args=POSTGRESQL,
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        cursor.execute("SET idle_in_transaction_session_timeout = '30s'")
        cursor.close()
        connection.commit()

    return engine
