"""The command line: what it prints, what it refuses, and in how many lines."""

import json
import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.__main__ import cli
from app.data_dir import DataDir
from tests.integration.service import command

COMMANDS = ("up", "api", "worker", "migrate", "validate", "openapi", "demo", "keys", "secrets")
GOOD = {"name": "good", "steps": [{"id": "a", "type": "transform", "config": {"output": 1}}]}
BAD = {
    "name": "bad",
    "steps": [
        {"id": "a", "type": "transform", "config": {"output": 1}, "depends_on": ["gone"]},
        {"id": "b", "type": "no_such_type", "config": {}},
    ],
}


async def test_help_is_the_installed_command_s(tmp_path: Path) -> None:
    status, out, _ = await command(tmp_path, "--help")
    assert status == 0
    for name in COMMANDS:
        assert f"  {name} " in out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [*([name] for name in COMMANDS), ["keys", "create"]])
def test_every_command_helps(words: list[str]) -> None:
    result = CliRunner().invoke(cli, [*words, "--help"])
    assert result.exit_code == 0
    assert result.output.startswith("Usage: ")
    assert len(result.output.splitlines()) > 5


async def test_keys_are_made_listed_and_revoked(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    refused = await command(directory, "keys", "create", "--org", "acme", "--role", "admin")
    assert refused[0] == 1
    assert refused[2] == (
        "signalbox: the database is not of this release; run `signalbox migrate` first\n"
    )

    status, out, err = await command(directory, "migrate")
    assert (status, err) == (0, "")
    assert out.startswith("the database went from nothing to ")
    status, out, err = await command(directory, "migrate")
    assert (status, err) == (0, "")
    assert out.startswith("the database is up to date, at ")

    made = await command(directory, "keys", "create", "--org", "acme", "--role", "runner")
    assert made[0] == 0
    said, token = made[1].splitlines()
    assert token.startswith("sb_")
    key_id = said.split()[1]
    # The same organisation, by name.
    again = await command(
        directory, "keys", "create", "--org", "acme", "--role", "viewer", "--name", "dashboard"
    )
    assert again[0] == 0

    status, out, _ = await command(directory, "keys", "list", "--org", "acme")
    assert status == 0
    assert len(out.splitlines()) == 2
    assert "dashboard" in out.splitlines()[0]
    assert key_id in out.splitlines()[1]
    assert token not in out

    words = ("keys", "revoke", "--org", "acme", "--reason", "it leaked", key_id)
    assert (await command(directory, *words))[0] == 0
    _, out, _ = await command(directory, "keys", "list", "--org", "acme")
    assert "revoked" in out.splitlines()[1]
    status, _, err = await command(directory, "keys", "rotate", "--org", "acme", key_id)
    assert (status, err) == (
        1,
        "signalbox: The key is revoked or has expired; make a new one.\n",
    )

    status, _, err = await command(directory, "keys", "revoke", "--org", "acme", "0" * 16)
    assert (status, err) == (1, "signalbox: There is no such key.\n")
    status, _, err = await command(directory, "keys", "list", "--org", "nobody")
    assert (status, err) == (1, "signalbox: The organisation nobody has no keys.\n")


async def test_keys_end_and_are_rotated(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    await command(directory, "migrate")
    words = ("keys", "create", "--org", "acme", "--role", "editor", "--name", "ci")
    status, out, _ = await command(directory, *words, "--days", "30")
    assert status == 0
    said, token = out.splitlines()
    key_id = said.split()[1]
    status, out, _ = await command(directory, "keys", "rotate", "--org", "acme", key_id)
    assert status == 0
    said, successor = out.splitlines()
    assert successor.startswith("sb_")
    assert successor != token
    assert said.endswith(f"role editor, in the place of {key_id}:")
    status, out, _ = await command(directory, "keys", "list", "--org", "acme")
    new, old = out.splitlines()
    assert "expires 2" in new
    assert "ci (rotated 2" in new
    assert "revoked 2" in old

    status, _, err = await command(directory, *words, "--days", "0")
    assert status == 2
    assert "'--days'" in err


async def test_a_definition_is_validated_without_a_database(tmp_path: Path) -> None:
    file = tmp_path / "definition.json"
    file.write_text(json.dumps(GOOD))
    assert await command(tmp_path, "validate", str(file)) == (0, "valid\n", "")
    file.write_text(json.dumps(BAD))
    status, out, err = await command(tmp_path, "validate", str(file))
    assert (status, err) == (1, "")
    assert "gone" in out
    assert "no_such_type" in out
    file.write_text("{")
    status, _, err = await command(tmp_path, "validate", str(file))
    assert status == 1
    assert err.startswith(f"signalbox: {file} is neither JSON nor YAML: ")
    assert [path.name for path in tmp_path.iterdir()] == ["definition.json"]


async def test_the_api_describes_itself_without_a_database(tmp_path: Path) -> None:
    status, out, err = await command(tmp_path, "openapi")
    assert (status, err) == (0, "")
    assert "/healthz" in json.loads(out)["paths"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "variables", "says"),
    [
        (["up"], {"SIGNALBOX_DATA_DIR": "/dev/null/data"}, "cannot be written (not a directory)"),
        (["migrate"], {"SIGNALBOX_DATA_DIR": "/proc/data"}, "cannot be written (no such file"),
        (["up"], {"WORKFLOW_MAX_CONCURRENT_RUNS": "0"}, "WORKFLOW_MAX_CONCURRENT_RUNS: "),
        (["up"], {"SIGNALBOX_API_KEY": "short"}, "SIGNALBOX_API_KEY: "),
        (["up"], {"SIGNALBOX_EGRESS_ALLOW": "foo bar"}, "signalbox: SIGNALBOX_EGRESS_ALLOW: 'foo"),
        (["up"], {"SIGNALBOX_SMTP_URL": "mail:sesame"}, "SIGNALBOX_SMTP_URL: must be smtp://host"),
        (["up"], {"SIGNALBOX_HOST": "192.0.2.1"}, "cannot listen on 192.0.2.1 port 0 ("),
        (["migrate"], {"DATABASE_URL": "mysql://u:sesame@h/d"}, "DATABASE_URL: must begin with"),
        (["api"], {"DATABASE_URL": "postgresql://u:sesame@127.0.0.1:1/d"}, "does not answer"),
        (["api", "--port", "0"], {}, "run `signalbox migrate` first"),
    ],
)
async def test_what_cannot_be_is_refused_in_one_line(
    tmp_path: Path, words: list[str], variables: dict[str, str], says: str
) -> None:
    status, out, err = await command(tmp_path / "data", *words, **variables)
    assert (status, out) == (1, "")
    assert err.startswith("signalbox: ")
    assert says in err
    assert len(err.splitlines()) == 1
    assert "sesame" not in err


@pytest.mark.parametrize("name", ["up", "api"])
async def test_a_taken_port_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert (await command(tmp_path, "migrate"))[0] == 0
        status, _, err = await command(tmp_path, name, SIGNALBOX_PORT=str(port))
    assert (status, err) == (1, f"signalbox: port {port} is taken; set SIGNALBOX_PORT\n")


async def test_a_directory_in_use_is_refused_in_one_line(tmp_path: Path) -> None:
    DataDir(tmp_path).lock()
    status, out, err = await command(tmp_path, "up")
    assert (status, out) == (1, "")
    assert err == (
        f"signalbox: {tmp_path} is in use by another `signalbox up`; set SIGNALBOX_DATA_DIR\n"
    )


async def test_a_child_that_never_starts_ends_it_with_a_line(tmp_path: Path) -> None:
    """The database is somebody else's, and the migration says so."""
    (tmp_path / "signalbox.db").write_bytes(b"this is no database" * 100)
    status, out, err = await command(tmp_path, "up")
    assert status == 1
    assert "Traceback" not in err
    assert "migrate  | " in out
    assert err == "signalbox: the database could not be brought up to date\n"
