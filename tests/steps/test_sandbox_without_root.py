"""A worker that is not root: its scripts have its user, so more is left to Landlock and seccomp."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from activities.clients import confinement

NOBODY = 65534
REPOSITORY = Path(__file__).resolve().parents[2]

WORKER = """
import asyncio, json, sys
sys.path.insert(0, sys.argv[1])
from activities.clients.shell import Shell

async def main():
    answers = []
    for language, source in json.load(sys.stdin):
        result = await Shell("auto").run(language, source, args=sys.argv[2:], timeout=60)
        answers.append([result.exit_code, result.stdout, result.stderr])
    print(json.dumps(answers))

asyncio.run(main())
"""

REFUSED = {
    "read the worker's file": "open(own).read()",
    "change its mode": "os.chmod(own, 0)",
    "change its mode by descriptor": "os.fchmod(os.open('script.py', 0), 0)",
    "change its owner": "os.chown(own, os.getuid(), -1)",
    "change its times": "os.utime(own)",
    "set an attribute": "os.setxattr(own, 'user.x', b'1')",
    "empty it": "os.truncate(own, 0)",
    "remove it": "os.remove(own)",
    "signal the worker": "os.kill(worker, 0)",
    "limit the worker": "resource.prlimit(worker, 7, (3, 3))",
    "slow the worker": "os.setpriority(os.PRIO_PROCESS, worker, 19)",
    "slow the user": "os.setpriority(os.PRIO_USER, 0, 19)",
    "pin the worker": "os.sched_setaffinity(worker, {0})",
    "connect": "socket.socket()",
    "become root": "os.setuid(0)",
}


def interpreter() -> str | None:
    """An interpreter that an unprivileged user can reach."""
    if os.geteuid() != 0:
        return sys.executable
    for candidate in (os.path.realpath(sys.executable), shutil.which("python3", path="/usr/bin")):
        command = [candidate or "false", "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
        try:
            if subprocess.run(command, user=NOBODY, group=NOBODY, check=False).returncode == 0:
                return candidate
        except PermissionError:
            continue
    return None


@pytest.mark.skipif(
    confinement.missing() is not None, reason="scripts are refused here, which other tests assert"
)
def test_the_same_user_is_held_as_well() -> None:
    python = interpreter()
    if python is None:
        pytest.skip("no interpreter that an unprivileged user can reach")
    identity = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory(prefix="own-", dir="/tmp") as directory:
        own = Path(directory) / "file"
        own.write_text("canary")
        if identity:
            for path in (directory, own):
                os.chown(path, NOBODY, NOBODY)
        prelude = "import os, resource, socket, sys\nown, worker = sys.argv[1], int(sys.argv[2])\n"
        scripts = [("python", f"{prelude}{attempt}") for attempt in REFUSED.values()]
        scripts.append(
            ("shell", "echo $(id -u) fine; touch new && mkdir d && mv new d && kill -0 $$")
        )
        victim = subprocess.Popen(["sleep", "600"], **identity)
        try:
            done = subprocess.run(
                [python, "-I", "-B", "-c", WORKER, str(REPOSITORY), str(own), str(victim.pid)],
                input=json.dumps(scripts),
                capture_output=True,
                text=True,
                timeout=100,
                cwd="/",
                check=False,
                **identity,
            )
            assert victim.poll() is None
        finally:
            victim.kill()
            victim.wait()
        assert done.returncode == 0, done.stderr
        *attempts, ordinary = json.loads(done.stdout)
        assert own.read_text() == "canary"
    for name, (code, _output, errors) in zip(REFUSED, attempts, strict=True):
        assert code == 1, name
        assert "PermissionError" in errors, (name, errors)
    user = NOBODY if identity else os.geteuid()
    assert ordinary == [0, f"{user} fine\n", ""]
