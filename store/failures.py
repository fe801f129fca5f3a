"""Tells what a database's error means: try again, the database is lost, or a defect of ours."""

import sqlite3
from enum import Enum

import psycopg
from sqlalchemy.exc import DBAPIError

#: Primary result codes; the extended ones carry them in their low byte.
_SQLITE_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_SQLITE_LOST = {
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_CORRUPT,
}
_SERIALIZATION_FAILURE, _DEADLOCK = "40001", "40P01"
#: Classes of SQLSTATE: connection exceptions, insufficient resources, operator intervention.
_LOST_CLASSES = ("08", "53", "57")


class Failure(Enum):
    """What an error of a database means for the transaction that met it."""

    #: The transaction was undone in favour of another one.
    BUSY = "busy"
    #: The database cannot be reached; whether a commit under way was carried out is not known.
    LOST = "lost"
    #: The statement was wrong, or a constraint forbade it.
    OURS = "ours"


def judge(error: DBAPIError) -> Failure:
    """What the error means."""
    origin = error.orig
    if isinstance(origin, sqlite3.Error):
        # Absent where the driver itself found the fault and never asked SQLite.
        code = getattr(origin, "sqlite_errorcode", 0) & 0xFF
        if code in _SQLITE_BUSY:
            return Failure.BUSY
        return Failure.LOST if code in _SQLITE_LOST else Failure.OURS
    if isinstance(origin, psycopg.Error):
        return _judge_psycopg(origin, error.connection_invalidated)
    return Failure.OURS


def _judge_psycopg(origin: psycopg.Error, invalidated: bool) -> Failure:
    state = origin.sqlstate
    if state in (_SERIALIZATION_FAILURE, _DEADLOCK):
        return Failure.BUSY
    if invalidated or (state or "").startswith(_LOST_CLASSES):
        return Failure.LOST
    # The client library has no SQLSTATE for a server that it never reached.
    if state is None and isinstance(origin, psycopg.OperationalError):
        return Failure.LOST
    return Failure.OURS
