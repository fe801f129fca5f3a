"""Secrets reach what steps send and nothing else: no row, no event, no log, no history."""

import base64
import json
import logging
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import select
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from engine.lifecycle import RunStatus
from store.database import Database, Tx
from store.tables import metadata
from tests.house import House, open_house
from tests.steps.http_door_peer import Peer, Send, message, serve
from tests.workflow.definitions import flow, step

VALUE = 'g3heim/+ "ü"-nowhere-else'


async def echo(request: bytes, send: Send) -> None:
    """Answer with everything that came, spelt in many ways; fail where the path says so."""
    head, _, body = request.partition(b"\r\n\r\n")
    text = body.decode()
    said = {
        "head": head.decode("latin-1"),
        "body": text,
        "again": {text: [text.upper(), json.dumps(text), quote(text, safe="")]},
        "base64": base64.b64encode(b"user:" + body).decode(),
    }
    await send(message(json.dumps(said).encode(), b"Content-Type: application/json"))


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    async with serve(echo) as peer:
        yield peer


async def everything(house: House, run_id: str) -> str:
    """All that the deployment keeps of a run: every table, and every history of Temporal."""

    def dump(tx: Tx) -> str:
        tables = [table for table in metadata.sorted_tables if table.name != "secrets"]
        values = [value for table in tables for row in tx.execute(select(table)) for value in row]
        return "\n".join(
            value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
            for value in values
        )

    kept = await house.database.read(dump)
    row = await house.run(run_id)
    return kept + await history(house.client, row.temporal_id)


async def history(client: Client, workflow_id: str) -> str:
    """The history as JSON, with every payload that it carries as text as well."""
    found = (await client.get_workflow_handle(workflow_id).fetch_history()).to_json()
    return found + "\n".join(
        base64.b64decode(data).decode("utf-8", "replace") for data in _payloads(json.loads(found))
    )


def _payloads(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["data"]] if isinstance(value.get("data"), str) else []
        return own + [data for inner in value.values() for data in _payloads(inner)]
    return [data for inner in value for data in _payloads(inner)] if isinstance(value, list) else []


def absent(value: str, text: str) -> None:
    for spelling in (
        value,
        value.upper(),
        json.dumps(value)[1:-1],
        quote(value, safe=""),
        base64.b64encode(value.encode()).decode(),
        base64.b64encode(b"user:" + value.encode()).decode()[8:-4],
    ):
        assert spelling not in text, spelling


async def test_an_echo_is_recorded_without_them(
    house: House, peer: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await house.secret("TOKEN", VALUE)
    sent = step("http_request", "a", url=peer.url, method="POST", body="{{ secrets.TOKEN }}")
    seen = step("transform", "b", "a", output="{{ steps.a.output.body.body }}")
    run_id = await house.start(flow(sent, seen))
    run = await house.until(run_id)
    assert run.status is RunStatus.COMPLETED
    assert peer.requests[0].partition(b"\r\n\r\n")[2].decode() == VALUE
    steps = await house.steps(run_id)
    assert steps["b"].output == "[secret TOKEN]"
    output = steps["a"].output
    assert isinstance(output, dict)
    body = output["body"]
    assert isinstance(body, dict)
    assert body["again"] == {"[secret TOKEN]": ["[secret TOKEN]", '"[secret TOKEN]"',
                                                "[secret TOKEN]"]}  # fmt: skip
    assert "[secret TOKEN]" in str(body["base64"])
    absent(VALUE, await everything(house, run_id))
    absent(VALUE, caplog.text)


@pytest.mark.parametrize("lane", [True, False])
async def test_an_error_is_recorded_without_them(house: House, lane: bool) -> None:
    """A host, a script's complaint, a value that the configuration does not take."""
    await house.secret("HOST", "Nowhere-At-All.invalid")
    await house.secret("WORD", "s3same-open")
    url = "http://{{ secrets.HOST }}/"
    script = {
        "language": "shell",
        "source": "echo $W >&2; exit 1",
        "env": {"W": "{{ secrets.WORD }}"},
    }
    run_id = await house.start(
        flow(
            {**step("http_request", "host", url=url), "local": lane, "on_error": "continue"},
            {**step("script", "script", **script), "on_error": "continue"},
            {
                **step("http_request", "config", url="http://x", method="{{ secrets.WORD }}"),
                "on_error": "continue",
            },
        )
    )
    await house.until(run_id)
    steps = await house.steps(run_id)
    assert steps["script"].error == {
        "code": "script_failed",
        "message": "The script ended with 1: [secret WORD]",
    }
    assert steps["config"].error is not None
    assert steps["config"].error["code"] == "config_invalid"
    assert steps["host"].error is not None
    assert "[secret HOST]" in steps["host"].error["message"]
    found = await everything(house, run_id)
    for value in ("s3same-open", "nowhere-at-all"):
        assert value not in found.lower()


async def test_what_a_script_prints_is_recorded_without_them(house: House) -> None:
    """Also where it was cut off in the middle of one."""
    await house.secret("WORD", "s3same-open-and-more")
    many = "import os\nfor n in range(200_000): print(os.environ['W'], end='')"
    run_id = await house.start(
        flow(step("script", "a", language="python", source=many, env={"W": "{{ secrets.WORD }}"}))
    )
    assert (await house.until(run_id)).status is RunStatus.COMPLETED
    found = await everything(house, run_id)
    assert "[secret WORD]" in found
    assert "s3s" not in found


async def test_a_defect_is_logged_without_them(
    house: House, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.secret("WORD", "s3same-open")

    def broken(body: str, headers: object) -> None:
        raise RuntimeError(f"a defect with {body}")

    monkeypatch.setattr("activities.steps.http_request.encode_body", broken)
    run_id = await house.start(
        flow(step("http_request", "a", url="http://127.0.0.1:1/", body="{{ secrets.WORD }}"))
    )
    assert (await house.until(run_id)).status is RunStatus.FAILED
    assert "a defect with [secret WORD]" in caplog.text
    assert "s3same-open" not in caplog.text + await everything(house, run_id)


async def test_a_missing_one_fails_the_step_by_name(house: House, peer: Peer) -> None:
    await house.secret("THERE", VALUE)
    body = "{{ secrets.THERE + secrets.ABSENT }}"
    failing = step("http_request", "a", url=peer.url, method="POST", body=body)
    run_id = await house.start(flow({**failing, "retry": {"max_attempts": 3, "delay": 0}}))
    assert (await house.until(run_id)).status is RunStatus.FAILED
    row = (await house.steps(run_id))["a"]
    assert row.error == {
        "code": "secret_not_found",
        "message": "Secret 'ABSENT' does not exist.",
    }
    assert row.attempt == 1
    assert peer.requests == []


async def test_the_next_attempt_gets_the_value_of_now(house: House) -> None:
    """A value that is replaced between two attempts of a step."""
    await house.secret("TOKEN", "value-the-first")
    seen: list[bytes] = []

    async def answer(request: bytes, send: Send) -> None:
        seen.append(request.partition(b"\r\n\r\n")[2])
        if len(seen) == 1:
            await house.secret("TOKEN", "value-the-second")
            await send(b"HTTP/1.1 503 -\r\nContent-Length: 0\r\n\r\n")
        else:
            await send(message(b"ok"))

    async with serve(answer) as peer:
        body = "{{ secrets.TOKEN }}"
        sent = step("http_request", "a", url=peer.url, method="POST", body=body)
        run = await house.finish(flow({**sent, "retry": {"max_attempts": 2, "delay": 0}}))
    assert run.status is RunStatus.COMPLETED
    assert seen == [b"value-the-first", b"value-the-second"]


async def test_without_a_key_only_steps_that_need_one_fail(
    server: WorkflowEnvironment, sqlite: Database, peer: Peer
) -> None:
    async with open_house(server.client, sqlite, secrets_key="") as house:
        await house.secret("TOKEN", VALUE)
        run_id = await house.start(
            flow(
                step("http_request", "plain", url=peer.url),
                step("http_request", "needs", "plain", url=peer.url, body="{{ secrets.TOKEN }}"),
            )
        )
        assert (await house.until(run_id)).status is RunStatus.FAILED
        steps = await house.steps(run_id)
        assert steps["plain"].error is None
        assert steps["needs"].error == {
            "code": "secrets_not_configured",
            "message": "Secret 'TOKEN' cannot be read: SIGNALBOX_SECRETS_KEY is not set.",
        }
    other = "11" * 32
    async with open_house(server.client, sqlite, secrets_key=other) as house:
        await house.secret("TOKEN", VALUE)
        run_id = await house.start(
            flow(step("http_request", "needs", url=peer.url, body="{{ secrets.TOKEN }}"))
        )
        await house.until(run_id)
        error = (await house.steps(run_id))["needs"].error
        assert error is not None
        assert error["code"] == "secret_unreadable"
