"""What a script can do: language, arguments, environment, output, exit code."""

import asyncio
import os
import socket
import sys
from pathlib import Path

import pytest

from activities.clients import confinement
from activities.clients.shell import Mode, SandboxUnavailable, Shell

MODES: list[Mode] = ["auto", "none"] if confinement.missing() is None else ["none"]


@pytest.fixture(params=MODES)
def shell(request: pytest.FixtureRequest) -> Shell:
    return Shell(request.param)


async def test_shell_has_pipes_arguments_and_variables(shell: Shell) -> None:
    source = 'printf "%s\\n" "$@" | sort | tr a-z A-Z; echo "$GREETING" >&2; cat <<EOF\nhere\nEOF'
    result = await shell.run(
        "shell", source, args=["b c", "a'b"], env={"GREETING": "grüß Gott"}, timeout=30
    )
    assert (result.exit_code, result.stdout, result.stderr, result.truncated) == (
        0,
        "A'B\nB C\nhere\n",
        "grüß Gott\n",
        False,
    )


async def test_python_has_the_standard_library_and_the_workers_version(shell: Shell) -> None:
    source = (
        "import decimal, hashlib, json, math, sqlite3, ssl, sys, zoneinfo\n"
        "print(json.dumps([math.floor(math.pi), list(sys.version_info[:3]), sys.argv[1:]]))\n"
        "print(zoneinfo.ZoneInfo('Europe/Berlin'), '\\u2713')\n"
    )
    result = await shell.run("python", source, args=["x", "ÿ"], timeout=30)
    version = list(sys.version_info[:3])
    assert result.stderr == ""
    assert result.stdout == f'[3, {version}, ["x", "\\u00ff"]]\nEurope/Berlin ✓\n'


async def test_python_event_loop_threads_and_children_work(shell: Shell) -> None:
    source = (
        "import asyncio, subprocess, threading\n"
        "async def main():\n"
        "    await asyncio.sleep(0)\n"
        "    p = await asyncio.create_subprocess_exec('/bin/echo', 'child', stdout=-1)\n"
        "    print((await p.communicate())[0].decode().strip())\n"
        "asyncio.run(main())\n"
        "t = threading.Thread(target=print, args=('thread',)); t.start(); t.join()\n"
        "print(subprocess.run(['sh', '-c', 'exit 4']).returncode)\n"
    )
    result = await shell.run("python", source, timeout=30)
    assert (result.stderr, result.stdout) == ("", "child\nthread\n4\n")


async def test_files_can_be_made_moved_linked_and_run_in_the_work_directory(shell: Shell) -> None:
    source = (
        'test "$PWD" = "$HOME" && test "$HOME" = "$TMPDIR" && mkdir -p a/b && echo one > a/b/f && '
        "mv a/b/f a/g && ln a/g a/h && ln -s g a/i && cat a/h a/i && : > /dev/null && "
        "printf '#!/bin/sh\\necho ran\\n' > tool && sh tool && mktemp -d > /dev/null && ls"
    )
    result = await shell.run("shell", source, timeout=30)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines()[:3] == ["one", "one", "ran"]


@pytest.mark.parametrize(
    ("source", "code"), [("exit 0", 0), ("exit 37", 37), ("kill -TERM $$", 143), ("nosuch", 127)]
)
async def test_exit_codes(shell: Shell, source: str, code: int) -> None:
    assert (await shell.run("shell", source, timeout=30)).exit_code == code


async def test_a_traceback_names_the_line_and_no_path_of_the_installation(shell: Shell) -> None:
    result = await shell.run("python", "import json\n\njson.loads('{')\n", timeout=30)
    assert result.exit_code == 1
    assert 'script.py", line 3' in result.stderr
    assert "JSONDecodeError" in result.stderr
    assert str(Path(__file__).parents[2]) not in result.stderr
    if shell._mode == "auto" and not sys.base_prefix.startswith("/usr"):
        assert sys.base_prefix not in result.stderr


async def test_the_workers_packages_are_not_the_scripts(shell: Shell) -> None:
    for module in ("temporalio", "activities", "signalbox"):
        result = await shell.run("python", f"import {module}", timeout=30)
        assert "ModuleNotFoundError" in result.stderr


async def test_the_environment_is_built_from_nothing(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "canary-in-the-environment")
    result = await shell.run("shell", "env; cat /proc/$PPID/environ", env={"A": "1"}, timeout=30)
    names = {line.partition("=")[0] for line in result.stdout.splitlines()}
    assert names == {"PATH", "LANG", "HOME", "TMPDIR", "PWD", "A"}
    assert "canary" not in result.stdout + result.stderr


async def test_no_descriptor_of_the_worker_is_inherited(shell: Shell, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("canary")
    with secret.open() as file, socket.socket() as listener:
        os.set_inheritable(file.fileno(), True)
        listener.set_inheritable(True)
        source = (
            "import os\n"
            "for fd in range(1024):\n"
            "    try: print(fd, oct(os.fstat(fd).st_mode & 0o170000))\n"
            "    except OSError: pass\n"
        )
        result = await shell.run("python", source, timeout=30)
    lines = dict(line.split() for line in result.stdout.splitlines())
    # 200 is the interpreter's own directory, opened without the right to read.
    assert set(lines) - {"200"} == {"0", "1", "2"}
    assert lines["0"] == oct(0o020000)
    assert lines.get("200") in (None, oct(0o040000))


async def test_output_is_cut_and_the_script_goes_on(shell: Shell) -> None:
    source = "import sys; sys.stdout.write('é' * 4_000_000); sys.exit(5)"
    result = await shell.run("python", source, timeout=60, max_output=1001)
    assert (result.exit_code, result.truncated) == (5, True)
    assert result.stdout == "é" * 500 + "�"


async def test_the_limit_holds_for_both_outputs_together(shell: Shell) -> None:
    source = "head -c 600 /dev/zero | tr '\\0' a; head -c 600 /dev/zero | tr '\\0' b >&2"
    result = await shell.run("shell", source, timeout=30, max_output=1000)
    assert result.truncated
    assert len(result.stdout) + len(result.stderr) == 1000
    result = await shell.run("shell", source, timeout=30, max_output=1200)
    assert (len(result.stdout), len(result.stderr), result.truncated) == (600, 600, False)


async def test_output_that_is_no_text_becomes_text(shell: Shell) -> None:
    result = await shell.run("shell", r"printf 'a\377b\000c'", timeout=30)
    assert result.stdout == "a�b�c"


async def test_a_large_source_arrives(shell: Shell) -> None:
    source = "x = '" + "y" * 900_000 + "'\nprint(len(x))"
    assert (await shell.run("python", source, timeout=30)).stdout == "900000\n"


async def test_scripts_run_side_by_side_as_different_users(shell: Shell) -> None:
    results = await asyncio.gather(*(shell.run("shell", "id -u", timeout=60) for _ in range(6)))
    users = {result.stdout for result in results}
    confined_by_root = shell._mode == "auto" and os.geteuid() == 0
    assert len(users) == (6 if confined_by_root else 1)


async def test_it_ticks_while_the_script_runs(shell: Shell) -> None:
    ticks: list[None] = []
    await shell.run("shell", "sleep 2.5", timeout=60, on_tick=lambda: ticks.append(None))
    assert len(ticks) >= 2


@pytest.mark.parametrize(
    ("args", "env"), [(["a\0b"], {}), ([], {"A": "\0"}), ([], {"A=B": "1"}), ([], {"": "1"})]
)
async def test_words_that_no_process_can_get_are_refused(
    shell: Shell, args: list[str], env: dict[str, str]
) -> None:
    with pytest.raises(ValueError, match=r"script|variable"):
        await shell.run("shell", "true", args=args, env=env, timeout=30)


async def test_without_a_sandbox_no_script_runs(tmp_path: Path) -> None:
    witness = tmp_path / "ran"
    shell = Shell("auto", missing=lambda: "Landlock in the kernel")
    with pytest.raises(SandboxUnavailable) as caught:
        await shell.run("shell", f"touch {witness}", timeout=30)
    assert caught.value.stable_code == "sandbox_unavailable"
    assert not caught.value.retryable
    assert "Landlock" in caught.value.message
    assert "SIGNALBOX_SCRIPT_SANDBOX=none" in caught.value.message
    assert not witness.exists()
    await Shell("none", missing=lambda: "everything").run("shell", f"touch {witness}", timeout=30)
    assert witness.exists()


@pytest.mark.skipif(confinement.missing() is None, reason="this machine can confine scripts")
async def test_a_machine_that_cannot_confine_refuses() -> None:
    with pytest.raises(SandboxUnavailable):
        await Shell("auto").run("shell", "true", timeout=30)
