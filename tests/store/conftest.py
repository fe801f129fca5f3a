"""A database for each test, on SQLite and on PostgreSQL.

The tests of a session share one of each, emptied after every test, and what uses it: a `Database`
has to make every statement anew. Tests of the connections themselves use one of their own. The
server is started for the session, unless `DATABASE_URL` names one.
"""

import shutil
import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import make_url

from store import migrate
from store.database import Database
from store.schema import metadata
from tests.store.world import World


class Made:
    """Makes and drops databases of a PostgreSQL server."""

    def __init__(self, address: str) -> None:
        self._address = address

    def make(self) -> tuple[str, str]:
        name = f"signalbox_{uuid4().hex}"
        self._run(f'CREATE DATABASE "{name}" TEMPLATE template0')
        url = make_url(self._address).set(database=name)
        return name, url.render_as_string(hide_password=False)

    def drop(self, name: str) -> None:
        self._run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def _run(self, statement: str) -> None:
        with psycopg.connect(self._address, autocommit=True) as connection:
            connection.execute(statement.encode())


@pytest.fixture(scope="session")
def postgresql_migrated(postgresql: str) -> Iterator[str]:
    made = Made(postgresql)
    name, address = made.make()
    migrate.upgrade(address)
    yield address
    made.drop(name)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "signalbox.db"
    migrate.upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def sqlite_migrated(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("shared") / "signalbox.db"
    shutil.copyfile(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a migrated database."""
    address: str = request.getfixturevalue(f"{request.param}_migrated")
    yield address
    tables = reversed(metadata.sorted_tables)
    empty = "; ".join(f'DELETE FROM "{table.name}"' for table in tables)
    if request.param == "postgresql":
        with psycopg.connect(address) as connection:
            connection.execute(empty.encode())
        return
    file = sqlite3.connect(address.removeprefix("sqlite:///"), timeout=30)
    file.executescript(f"BEGIN IMMEDIATE; {empty}; COMMIT")
    file.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a database without tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    made = Made(request.getfixturevalue("postgresql"))
    name, address = made.make()
    yield address
    made.drop(name)


@pytest.fixture(scope="session")
async def databases() -> AsyncIterator[dict[str, Database]]:
    """What uses the shared databases, by address."""
    made: dict[str, Database] = {}
    yield made
    for database in made.values():
        await database.close()


@pytest.fixture
def database(url: str, databases: dict[str, Database]) -> Database:
    if url not in databases:
        databases[url] = Database(url)
    return databases[url]


@pytest.fixture
async def own_database(url: str) -> AsyncIterator[Database]:
    """One that no other test has used, or suffers from."""
    database = Database(url)
    yield database
    await database.close()


@pytest.fixture
async def world(database: Database) -> World:
    """An organisation with a workflow, and what makes more."""
    return await database.write(World.make)
