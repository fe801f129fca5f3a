"""What the launcher is told: user, place, interpreter, variables, limits, and how each is found.

Kept apart from `activities.clients.sandbox`, which must start fast and so imports next to nothing.
"""

import contextlib
import math
import os
import secrets
import socket
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, NotRequired, TypedDict

from activities.clients.confinement import INTERPRETER_FD
from engine.errors import StepError

Language = Literal["shell", "python"]

_ENVIRONMENT: Final = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
_LIMITS: Final = {"AS": 2 << 30, "FSIZE": 64 << 20, "NOFILE": 256}
# Nothing is expected to own these; the second range serves containers that map 65,536 ids only.
_USER_RANGES: Final = (range(200_000, 265_536), range(60_000, 65_000))


class Order(TypedDict):
    """What to run: marshalled, so the launcher needs no parser.

    Attributes:
        confined: False runs the script with limits alone.
        uid: the user to become; None to keep the worker's.
        work: path of the work directory, which the launcher creates and removes.
        files: name in the work directory -> contents.
        argv: the command.
        env: the whole environment.
        prefix: directory of the interpreter, handed over as `INTERPRETER_FD`; empty for none.
        limits: see `confinement.limit`.
        worker: process id of the worker.
    """

    confined: bool
    uid: int | None
    work: str
    files: dict[str, bytes]
    argv: list[str]
    env: dict[str, str]
    prefix: str
    limits: dict[str, int]
    worker: int


class Report(TypedDict):
    """How it ended.

    `exit_code` goes with `exited`; `detail`, of the form `stage: reason`, with `refused`.
    """

    outcome: Literal["exited", "stopped", "refused"]
    exit_code: NotRequired[int]
    detail: NotRequired[str]


class SandboxUnavailable(StepError):
    """Scripts cannot be confined here, so the script was not run."""

    code = "sandbox_unavailable"

    def __init__(self, missing: str) -> None:
        super().__init__(
            self.code,
            f"The script was not run: the sandbox needs {missing}. A deployment that trusts all "
            "authors of its workflows can set SIGNALBOX_SCRIPT_SANDBOX=none.",
            retryable=False,
        )


def build(
    language: Language,
    source: str,
    args: Sequence[str],
    env: Mapping[str, str],
    *,
    timeout: float,
    confined: bool,
    uid: int | None,
) -> Order:
    """Put an order together; the work directory in it does not exist yet.

    Raises:
        SandboxUnavailable: The interpreter cannot be shown to a confined script.
        ValueError: An argument or a variable cannot be handed to a process.
    """
    if any("\0" in word for word in (*args, *env.keys(), *env.values())):
        raise ValueError("An argument or environment variable of a script holds a NUL character.")
    if any(not name or "=" in name for name in env):
        raise ValueError("The name of an environment variable is empty or holds '='.")
    work = f"{_temporary_directory()}/signalbox-script-{secrets.token_hex(16)}"
    variables = {**_ENVIRONMENT, "HOME": work, "TMPDIR": work}
    prefix = ""
    if language == "shell":
        name, command = "script.sh", ["/bin/sh", "script.sh"]
    else:
        interpreter, prefix, libraries = _interpreter(by_descriptor=confined)
        variables |= libraries
        name = "script.py"
        # -u: what was written before a time-out is not lost in a buffer.
        command = [interpreter, "-I", "-B", "-u", f"{work}/{name}"]
    return Order(
        confined=confined,
        uid=uid,
        work=work,
        files={name: source.encode()},
        argv=[*command, *args],
        env={**variables, **env},
        prefix=prefix,
        limits={**_LIMITS, "CPU": math.ceil(timeout) + 1},
        worker=os.getpid(),
    )


@contextlib.contextmanager
def own_user() -> Iterator[tuple[int, socket.socket]]:
    """Choose a user id that no other script on this machine has, and keep it.

    The lock is a name in the kernel's table of abstract sockets: it needs no file and goes away
    with its last holder, however that ends.

    Raises:
        SandboxUnavailable: This container has no user ids to give, or all are taken.
    """
    for user in _some_users():
        lock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            lock.bind(f"\0signalbox-script-{user}")
        except OSError:
            lock.close()
            continue
        with lock:
            yield user, lock
        return
    raise SandboxUnavailable("a free user id for the script")


def _some_users() -> list[int]:
    """A few ids by chance, of a range that this user namespace knows."""
    for candidates in _USER_RANGES:
        if _mapped(candidates, "/proc/self/uid_map") and _mapped(candidates, "/proc/self/gid_map"):
            return [secrets.choice(candidates) for _ in range(100)]
    return []


def _mapped(ids: range, map_file: str) -> bool:
    for line in Path(map_file).read_text().splitlines():
        first, _outside, count = map(int, line.split())
        if first <= ids.start and ids.stop <= first + count:
            return True
    return False


def _temporary_directory() -> str:
    """Where work directories go: the system's choice, unless other users cannot walk to it."""
    chosen = Path(tempfile.gettempdir()).resolve()
    if all(directory.stat().st_mode & 0o001 for directory in (chosen, *chosen.parents)):
        return str(chosen)
    return "/tmp"


def _interpreter(*, by_descriptor: bool) -> tuple[str, str, dict[str, str]]:
    """Find the interpreter below the virtual environment.

    One that the system provides is used by its path. Any other lies in somebody's home as likely as
    not, where a user of the script's own may not walk and whose path is not the script's to know:
    the launcher opens the directory and the script reaches it through that descriptor.

    Returns:
        The command, the directory to open or an empty string, and the variables it needs.
    """
    executable = Path(sys.executable).resolve()
    prefix = Path(sys.base_prefix).resolve()
    if not by_descriptor or prefix.is_relative_to("/usr"):
        return str(executable), "", {}
    try:
        inside = executable.relative_to(prefix)
    except ValueError:
        raise SandboxUnavailable("a Python interpreter inside its own prefix") from None
    seen = f"/proc/self/fd/{INTERPRETER_FD}"
    shared = bool(sysconfig.get_config_var("Py_ENABLE_SHARED"))
    return f"{seen}/{inside}", str(prefix), {"LD_LIBRARY_PATH": f"{seen}/lib"} if shared else {}
