"""Secrets among real processes: from the command line into a request, and into nothing else."""

import asyncio
import json
import secrets
from pathlib import Path

from tests.integration.service import PATIENCE, SIGNALBOX, environment
from tests.integration.site import Site
from tests.steps.http_door_peer import Send, message, serve

VALUE = "nowhere-but-in-the-request"


async def signalbox(site: Site, *words: str, given: str = "", **more: str) -> tuple[int, str, str]:
    """Run a command beside the site, with something on its standard input."""
    process = await asyncio.create_subprocess_exec(
        SIGNALBOX,
        *words,
        env=environment(site.directory, {"DATABASE_URL": site.database_url, **site.more, **more}),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(PATIENCE):
        out, err = await process.communicate(given.encode())
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_a_value_reaches_the_request_and_no_file(tmp_path: Path) -> None:
    """The databases of both services and the logs of all processes are searched."""

    async def echo(request: bytes, send: Send) -> None:
        await send(message(json.dumps({"said": request.decode("latin-1")}).encode()))

    key = {"SIGNALBOX_SECRETS_KEY": secrets.token_hex(32)}
    async with serve(echo) as peer, Site(tmp_path / "site", more=key) as site:
        assert await signalbox(site, "secrets", "set", "TOKEN", given=f"{VALUE}\n") == (
            0,
            "kept TOKEN of default\n",
            "",
        )
        step = {
            "id": "a",
            "type": "http_request",
            "config": {
                "url": f"{peer.url}/?key={{{{ secrets.TOKEN }}}}",
                "headers": {"Authorization": "Bearer {{ secrets.TOKEN }}"},
            },
        }
        workflow = await site.define({"name": "secret", "steps": [step]})
        run_id = await site.run(workflow)
        await site.completed(workflow, 1)
        page = (await site.http.get(f"/api/workflows/runs/{run_id}")).text
        stream = (await site.http.get(f"/api/workflows/runs/{run_id}/stream")).text
    (request,) = peer.requests
    assert request.decode().count(VALUE) == 2
    assert "Bearer [secret TOKEN]" in page
    assert VALUE not in page + stream
    files = [path for path in site.directory.rglob("*") if path.is_file()]
    assert {"signalbox.db", "temporal.db", "worker.log", "api.log"} <= {f.name for f in files}
    assert [file.name for file in files if VALUE.encode() in file.read_bytes()] == []


async def test_the_command_line(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    site = Site(directory)
    key = {"SIGNALBOX_SECRETS_KEY": secrets.token_hex(32)}

    assert (await signalbox(site, "migrate"))[0] == 0
    # Without the setting, the data directory has a key.
    assert (directory / "secrets-key").stat().st_mode & 0o777 == 0o600

    status, _, err = await signalbox(site, "secrets", "set", "A", given="x")
    assert (status, err) == (1, "signalbox: There is no organisation default.\n")
    made = await signalbox(site, "keys", "create", "--org", "acme", "--role", "editor")
    assert made[0] == 0
    acme = ("--org", "acme")
    for name, given, said in (
        ("A", "one\n", "kept A of acme\n"),
        ("B", "two", "kept B of acme\n"),
        ("A", "three", "replaced A of acme\n"),
    ):
        assert await signalbox(site, "secrets", "set", name, *acme, given=given) == (0, said, "")
    for name, given in (("a-b", "x"), ("A", "\n"), ("A", "x" * 65_537)):
        status, out, err = await signalbox(site, "secrets", "set", name, *acme, given=given)
        assert (status, out, len(err.splitlines())) == (1, "", 1)

    status, out, _ = await signalbox(site, "secrets", "list", *acme)
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()] == ["A", "B"]

    old = (directory / "secrets-key").read_text().strip()
    both = {"SIGNALBOX_SECRETS_KEY": f"{key['SIGNALBOX_SECRETS_KEY']},{old}"}
    status, out, err = await signalbox(site, "secrets", "rotate", **key)
    assert (status, out) == (1, "")
    assert err.startswith("signalbox: 2 secrets were written under a key that ")
    assert await signalbox(site, "secrets", "rotate", **both) == (0, "2 encrypted anew\n", "")
    assert await signalbox(site, "secrets", "rotate", **key) == (0, "0 encrypted anew\n", "")

    assert await signalbox(site, "secrets", "delete", "A", *acme) == (0, "removed A of acme\n", "")
    status, out, err = await signalbox(site, "secrets", "delete", "A", *acme)
    assert (status, out, err) == (1, "", "signalbox: There is no such secret.\n")
    await site.http.aclose()


async def test_production_without_a_key_says_so(tmp_path: Path) -> None:
    """With a database and a pepper nothing is generated, and nothing but secrets needs a key."""
    site = Site(tmp_path / "data")
    pepper = {"SIGNALBOX_KEY_PEPPER": "pepper of the tests"}
    assert (await signalbox(site, "migrate", **pepper))[0] == 0
    status, _, err = await signalbox(site, "secrets", "set", "A", given="x", **pepper)
    assert (status, err) == (
        1,
        "signalbox: Secrets cannot be kept: SIGNALBOX_SECRETS_KEY is not set.\n",
    )
    assert not (site.directory / "secrets-key").exists()
    await site.http.aclose()
