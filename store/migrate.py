"""Brings a database up to the tables of this release.

Every process may do it when it starts: one works, the others wait and find nothing left to do. A
migration happens whole or not at all, on both databases.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from engine.errors import Unavailable
from store.connect import parse, postgresql_engine, sqlite_engine
from store.failures import Failure, judge

T = TypeVar("T")

#: Any number that nothing else in the database locks.
_LOCK = 0x516E616C


def upgrade(url: str) -> None:
    """Bring the database to the newest revision.

    Args:
        url: As for `store.database.Database`. A SQLite file is made where there is none.

    Raises:
        Unavailable: The database does not answer.
    """
    if current(url) != head():
        _connected(url, _upgrade, writes=True)


def current(url: str) -> str | None:
    """The revision of the database; None when it has no tables yet.

    Raises:
        Unavailable: The database does not answer.
    """
    return _connected(url, _revision, writes=False)


def head() -> str:
    """The newest revision that this release knows."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    assert revision is not None
    return revision


def _upgrade(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        # Released with the transaction. SQLite's transaction is itself the lock.
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _config() -> Config:
    config = Config()
    folder = Path(__file__).parent / "migrations"
    # A percent sign would be read as the start of an interpolation.
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _connected(url: str, work: Callable[[Connection], T], *, writes: bool) -> T:
    address = parse(url)
    if address.get_backend_name() == "sqlite":
        engine = sqlite_engine(address, size=1, writes=writes, foreign_keys=False)
    else:
        engine = postgresql_engine(address, size=1)
    try:
        with engine.begin() as connection:
            return work(connection)
    except DBAPIError as error:
        if judge(error) is Failure.OURS:
            raise
        raise Unavailable("The database does not answer; try again.") from error
    finally:
        engine.dispose()
