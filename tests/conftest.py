"""The real things that tests stand on: a Temporal server, one with virtual time, a database."""

import gc
import os
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from temporalio.testing import WorkflowEnvironment

from app.embedded import ports
from store import migrate
from store.database import Database
from tests.house import House, open_house
from tests.model_server import ModelServer
from tests.postgresql import running
from tests.receiver import Receiver
from workflows.contract import DATA_CONVERTER

# What the machine is set to must not change what the tests see.
for name in [name for name in os.environ if name.startswith(("SIGNALBOX_", "TEMPORAL_"))]:
    del os.environ[name]

# How long an example takes, or finding one, says how busy the machine is.
settings.register_profile(
    "any machine", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")

#: The settings that the embedded server is started with.
TUNED = [
    "--dynamic-config-value",
    "history.transferProcessorMaxPollRPS=2000",
    "--dynamic-config-value",
    'history.timerProcessorMaxTimeShift="10ms"',
]
TEMPORAL = str(Path(sys.executable).parent / "temporal")
#: Folders in the order of their tests' lengths; the others come after them.
LONGEST_FIRST = ("integration", "workflow", "contract", "store", "steps")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest: processes that run side by side then end at the same time."""

    def rank(item: pytest.Item) -> int:
        folder = item.path.relative_to(Path(__file__).parent).parts[0]
        return LONGEST_FIRST.index(folder) if folder in LONGEST_FIRST else len(LONGEST_FIRST)

    items.sort(key=rank)


def pytest_collection_finish() -> None:
    """What is loaded and collected stays to the end: the garbage collector need not look at it."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def unused_tcp_port() -> int:
    """A port where nobody listens, and that whoever tries it will not be given to connect from."""
    return ports.free_port()


@pytest.fixture(scope="session")
async def server() -> AsyncIterator[WorkflowEnvironment]:
    """A Temporal server, tuned as the embedded one."""
    async with await WorkflowEnvironment.start_local(
        data_converter=DATA_CONVERTER,
        dev_server_existing_path=TEMPORAL,
        dev_server_extra_args=TUNED,
    ) as environment:
        yield environment


@pytest.fixture(scope="session")
async def skipping() -> AsyncIterator[WorkflowEnvironment]:
    """The same server with virtual time: what waits is over at once."""
    async with await WorkflowEnvironment.start_time_skipping_v2(
        data_converter=DATA_CONVERTER,
        dev_server_existing_path=TEMPORAL,
        dev_server_extra_args=[
            *TUNED,
            "--dynamic-config-value",
            "frontend.WorkflowTimeSkippingEnabled=true",
        ],
    ) as environment:
        yield environment


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The address of a PostgreSQL database from which others can be made."""
    with running() as address:
        yield address


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy."""
    path = tmp_path_factory.mktemp("migrated") / "signalbox.db"
    migrate.upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
async def sqlite(migrated: Path, tmp_path: Path) -> AsyncIterator[Database]:
    """A SQLite database of the test's own."""
    shutil.copy(migrated, tmp_path / "signalbox.db")
    database = Database(f"sqlite:///{tmp_path / 'signalbox.db'}")
    yield database
    await database.close()


@pytest.fixture(scope="session")
async def house(
    server: WorkflowEnvironment, migrated: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[House]:
    """One worker for all tests that need nothing special of it; its model says "Hello there."."""
    path = tmp_path_factory.mktemp("house") / "signalbox.db"
    shutil.copy(migrated, path)
    database = Database(f"sqlite:///{path}")
    async with (
        ModelServer() as models,
        open_house(server.client, database, variables=models.settings()) as house,
    ):
        yield house
    await database.close()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """The witness of what steps did."""
    async with Receiver() as receiver:
        yield receiver
