"""Migrations lead to the tables, once, whoever comes first."""

import asyncio
import sys
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine, inspect, select

from engine.errors import Unavailable
from store import entity_types, migrate, organisations
from store.connect import parse
from store.database import Database
from store.schema import metadata
from store.tables import organisations as organisation_table

ROOT = Path(__file__).parents[2]


def differences(connection: Connection) -> list[object]:
    context = MigrationContext.configure(
        connection, opts={"compare_type": True, "compare_server_default": True}
    )
    return [*compare_metadata(context, metadata)]


def constraints(connection: Connection) -> dict[str, object]:
    """What the comparison leaves out: names of keys, and what becomes of dependents."""
    inspector = inspect(connection)
    return {
        table: (
            inspector.get_pk_constraint(table),
            sorted(map(str, inspector.get_foreign_keys(table))),
            sorted(map(str, inspector.get_unique_constraints(table))),
        )
        for table in metadata.tables
    }


def test_migrations_lead_to_the_tables(empty_url: str) -> None:
    assert migrate.current(empty_url) is None
    migrate.upgrade(empty_url)
    assert migrate.current(empty_url) == migrate.head()
    engine = create_engine(parse(empty_url))
    with engine.connect() as connection:
        assert differences(connection) == []
        migrated = constraints(connection)
        tables = set(inspect(connection).get_table_names())
    assert tables == {*metadata.tables, "alembic_version"}
    with engine.begin() as connection:
        metadata.drop_all(connection)
        metadata.create_all(connection)
    with engine.connect() as connection:
        assert constraints(connection) == migrated
    engine.dispose()


def test_organisations_of_before_get_the_builtin_types(empty_url: str) -> None:
    engine = create_engine(parse(empty_url))
    config = Config()
    config.set_main_option("script_location", str(ROOT / "store" / "migrations"))
    config.set_main_option("path_separator", "os")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
        connection.exec_driver_sql(
            f"INSERT INTO organisations (id, name, created_at) VALUES ('{'a' * 32}', 'acme', 1)"
        )
    migrate.upgrade(empty_url)
    with engine.begin() as connection:
        entity_types.add_builtin(connection, "a" * 32)
        rows, total = entity_types.page(connection, "a" * 32, limit=10, offset=0)
    engine.dispose()
    assert total == 2
    assert [(row.name, row.plural_name, row.builtin) for row in rows] == [
        ("Service", "Services", True),
        ("Vendor", "Vendors", True),
    ]


async def test_again_changes_nothing(url: str) -> None:
    database = Database(url)
    org = await database.write(lambda tx: organisations.ensure(tx, "acme"))
    migrate.upgrade(url)
    assert await database.read(lambda tx: tx.scalar(select(organisation_table.c.id))) == org
    assert migrate.current(url) == migrate.head()
    await database.close()


async def test_several_processes_at_once(empty_url: str) -> None:
    script = "import sys; from store import migrate; migrate.upgrade(sys.argv[1])"
    processes = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", script, empty_url), cwd=ROOT, stderr=asyncio.subprocess.PIPE
        )
        for _ in range(3)
    ]
    for process in processes:
        _, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()
    database = Database(empty_url)
    await database.ping()
    await database.close()


def test_a_migration_that_fails_leaves_nothing(empty_url: str) -> None:
    engine = create_engine(parse(empty_url))
    # The first revision makes its table of this name after most of the others.
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE step_runs (id INTEGER)")
    with pytest.raises(Exception, match="step_runs"):
        migrate.upgrade(empty_url)
    assert migrate.current(empty_url) is None
    with engine.connect() as connection:
        assert inspect(connection).get_table_names() == ["step_runs"]
    engine.dispose()


@pytest.mark.parametrize(
    "address", ["sqlite:////nowhere/at/all/x.db", "postgresql://me@/x?host=/nowhere/at/all"]
)
def test_a_database_that_is_not_there(address: str) -> None:
    with pytest.raises(Unavailable):
        migrate.upgrade(address)
