"""Another organisation's things look exactly like things that are not there, on every route.

The routes are those of the OpenAPI document and the bodies are made of their schemas, so a new
route is covered by itself. A new kind of id needs a thing in `_things`.
"""

import asyncio
import os
import re
import time
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from app.settings import Settings
from engine.roles import Role
from tests.contract.conftest import ADMIN, Door
from tests.contract.full_engine.definitions import PATIENT

Operation = tuple[str, str, dict[str, Any]]
#: Surface and path parameter -> what stands there for a thing of the organisation `default`.
Things = dict[tuple[str, str], str]

SURFACES = ("/api/v1/", "/v1/", "/api/")
_PARAMETER = re.compile(r"{(\w+)}")
#: The parameters that only say which part of the thing before them is meant.
PARTS = {"step_id": "first", "version": "1", "runId": "0" * 32, "entityId": "0" * 32}
#: A name is no id: it makes a thing of the caller's own.
OWN_NAMES = {("PUT", "/api/secrets/{name}")}
#: What a schema does not tell of a value.
FITTING: dict[str, Any] = {
    "cron_expression": "0 9 * * *",
    "definition": PATIENT,
    "scheduled_for": int(time.time()) + 86_400,
    "start_at": "2026-03-02T14:00:00Z",
    "end_at": "2026-03-03T14:00:00Z",
    "model": "openai:test-model",
}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """The same, where secrets can be kept."""
    keyring = os.urandom(32).hex()
    return Settings.model_validate(
        settings.model_dump() | {"secrets_key": keyring, "api_key": ADMIN}
    )


def operations(app: FastAPI) -> list[Operation]:
    """Method, path and description of every operation in the document."""
    return [
        (method.upper(), path, operation)
        for path, operations in app.openapi()["paths"].items()
        for method, operation in operations.items()
    ]


def surface_of(path: str) -> str:
    return next((surface for surface in SURFACES if path.startswith(surface)), "")


async def _things(api: httpx2.AsyncClient) -> Things:
    """A thing of every kind, and a run that waits for a day."""

    async def made(url: str, *keys: str, **body: Any) -> str:
        answer = await api.post(url, json=body)
        assert answer.status_code in (200, 201, 202), (url, answer.text)
        found = answer.json()
        for key in keys:
            found = found[key]
        return str(found)

    workflow = await made("/api/workflows", "id", definition=PATIENT)
    by_id = f"/api/workflows/{workflow}"
    run = await made(f"{by_id}/run", "run_id")
    patient = PATIENT["name"]
    later = FITTING["scheduled_for"]
    entity_type = await made(
        "/api/v1/entity-types", "id", name="Strange", pluralName="Strangers", fields=[]
    )
    assert (await api.put("/api/secrets/TOKEN", json={"value": "12345678"})).status_code == 201
    key = await made("/api/keys", "key", "id", name="mine", role="viewer")
    async with asyncio.timeout(60):
        while (await api.get(f"/api/workflows/runs/{run}/steps/first/output")).status_code != 200:
            await asyncio.sleep(0.05)
    vendor = await made("/api/v1/entities", "id", entityTypeId="Vendor", fields={"name": "Acme"})
    return {
        ("/api/", "workflow_id"): workflow,
        ("/api/", "run_id"): run,
        ("/api/", "schedule_id"): await made(
            f"{by_id}/schedules", "schedule_id", cron_expression="0 9 * * *", paused=True
        ),
        ("/api/", "template_id"): await made(
            "/api/workflows/templates", "template_id", workflow_id=workflow, category="tests"
        ),
        ("/api/", "agent_id"): await made(
            "/api/agents", "id", name="mine", model="openai:m", instructions="x"
        ),
        ("/api/", "key_id"): key,
        ("/api/", "name"): "TOKEN",
        ("/v1/", "workflow_name"): patient,
        ("/v1/", "workflow_run_id"): run.replace("run_", "cbwr_"),
        ("/v1/", "schedule_id"): await made(
            f"/v1/workflows/{patient}/schedule", "id", scheduled_for=later
        ),
        ("/v1/", "key_id"): key,
        ("/api/v1/", "entityTypeId"): entity_type,
        ("/api/v1/", "entityId"): vendor,
        ("/api/v1/", "workflowId"): workflow.removeprefix("wf_"),
        ("/api/v1/", "jobId"): run.removeprefix("run_"),
        ("/api/v1/", "bucketId"): await made(
            "/api/v1/buckets", "id", name="mine", kind="file", config={}
        ),
        ("/v1/", "vendor_id"): f"cbvndr_{vendor}",
        ("/v1/", "event_id"): await made("/v1/events", "event_id", name="Strange.Thing", data={}),
        ("/v1/", "assessment_id"): await made(
            "/v1/assessments", "id", vendor_id=vendor, control_set_ids=[]
        ),
    }


def unknown(real: str) -> str:
    """What looks like it and is nothing."""
    return real[:-1] + ("0" if real[-1] != "0" else "1")


class Sampler:
    """Makes the smallest value that fits a schema of the document."""

    def __init__(self, app: FastAPI) -> None:
        self._schemas = app.openapi()["components"]["schemas"]

    def body(self, operation: dict[str, Any]) -> Any:
        """A body for the operation; None where it needs none."""
        wanted = operation.get("requestBody", {})
        schema = wanted.get("content", {}).get("application/json", {}).get("schema")
        return self.value(schema) if wanted.get("required") and schema else None

    def query(self, operation: dict[str, Any]) -> dict[str, Any]:
        """What the operation needs in its query."""
        return {
            wanted["name"]: self.value(wanted["schema"])
            for wanted in operation.get("parameters", ())
            if wanted["in"] == "query" and wanted.get("required")
        }

    def value(self, schema: dict[str, Any], name: str = "") -> Any:
        if name in FITTING:
            return FITTING[name]
        if "$ref" in schema:
            return self.value(self._schemas[schema["$ref"].rpartition("/")[2]], name)
        for some in ("anyOf", "oneOf"):
            if some in schema:
                return self.value(schema[some][0], name)
        if "const" in schema or "enum" in schema:
            return schema.get("const", schema.get("enum", [None])[0])
        match schema.get("type"):
            case "object":
                properties = schema.get("properties", {})
                return {key: self.value(properties[key], key) for key in schema.get("required", ())}
            case "array":
                return [self.value(schema["items"])] * schema.get("minItems", 0)
            case "integer" | "number":
                return schema.get("minimum", 1) or 1
            case "boolean":
                return True
            case _:
                return "x" * max(schema.get("minLength", 1), 1)


@pytest.mark.usefixtures("worker")
async def test_what_is_of_another_organisation_is_not_there(
    app: FastAPI, api: httpx2.AsyncClient, door: Door
) -> None:
    things = await _things(api)
    tried = set()
    run_url = f"/api/workflows/runs/{things['/api/', 'run_id']}"
    before = (await api.get(run_url)).json()["run"]
    async with door.client(await door.key(Role.ADMIN, "other")) as stranger:
        for method, path, operation in operations(app):
            if (method, path) in OWN_NAMES:
                continue
            query, body = Sampler(app).query(operation), Sampler(app).body(operation)
            ids = {name for _, name in things if name.lower().endswith("id")}
            named = [*_PARAMETER.findall(path)[:1], *(ids & set(body or ()))]
            for name in named:
                kind = (surface_of(path), name)
                assert kind in things, f"{path}: `_things` has none of the kind {kind}"
                tried.add(kind)
                answers = []
                for word in (things[kind], unknown(things[kind])):
                    url = path.replace(f"{{{name}}}", word)
                    answer = await stranger.request(
                        method,
                        _PARAMETER.sub(lambda found: PARTS[found[1]], url),
                        params=query,
                        json=body | {name: word} if name in (body or ()) else body,
                    )
                    said = answer.content.replace(word.encode(), b"it")
                    answers.append((answer.status_code, said, answer.headers["content-type"]))
                assert answers[0] == answers[1], (method, path, name)
                # In a body it may count as a value that does not fit.
                expected = (404,) if f"{{{name}}}" in path else (400, 404, 422)
                assert answers[0][0] in expected, (method, path, name, answers[0])
    assert tried == {*things}
    # Nothing has happened to any of it.
    after = (await api.get(run_url)).json()["run"]
    assert after == before
    for (surface, first), real in things.items():
        for method, path, _ in operations(app):
            its_own = path.endswith(f"/{{{first}}}") and path.count("{") == 1
            if method == "GET" and its_own and surface_of(path) == surface:
                answer = await api.get(path.replace(f"{{{first}}}", real))
                assert answer.status_code == 200, (path, answer.text)


@pytest.mark.usefixtures("worker")
async def test_no_list_has_what_is_of_another_organisation(
    app: FastAPI, api: httpx2.AsyncClient, door: Door
) -> None:
    things = await _things(api)
    digits = {found for real in things.values() for found in re.findall(r"[0-9a-f]{32}", real)}
    assert len(digits) >= 8
    seen: set[str] = set()
    async with door.client(await door.key(Role.ADMIN, "other")) as stranger:
        for method, path, operation in operations(app):
            if method != "GET" or "{" in path or not surface_of(path):
                continue
            text = (await stranger.get(path, params=Sampler(app).query(operation))).text
            assert [found for found in digits if found in text] == [], path
            mine = await api.get(path, params=Sampler(app).query(operation))
            seen |= {found for found in digits if found in mine.text}
    # What the stranger does not see is in the lists of its owner.
    assert len(seen) >= 5
