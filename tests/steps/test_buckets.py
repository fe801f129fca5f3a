"""`publish` into buckets: requests, objects of a store that checks signatures, and files."""

import hashlib
import hmac
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from pydantic import JsonValue
from standardwebhooks import Webhook

from activities.registry import catalog
from activities.secrets import Disclosed, Vault
from engine.bucket import bucket_of
from engine.call import StepCall
from engine.errors import StepError
from engine.outcomes import Done, EntityChange, Skip
from engine.validation import check
from store import buckets, secrets
from store.database import Database
from store.sealing import Keyring
from tests.receiver import Delivery, Receiver
from tests.steps.stepping import KEY, Bench, bench
from tests.store.world import World

RING = Keyring.parse(os.urandom(32).hex())
SECRETS = {
    "SIGNING": "whsec_" + "c2VjcmV0" * 4,
    "KEY_ID": "AKIDEXAMPLE",
    "KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
    "UNFIT": "not\nprintable",
}
STORE = {
    "bucket": "pages",
    "region": "eu-central-1",
    "accessKeyId": "KEY_ID",
    "secretAccessKey": "KEY",
}
RECORD: dict[str, JsonValue] = {"id": "ef01", "type": "Page", "fields": {"title": "Grüße"}}
SCOPE: dict[str, JsonValue] = {"input": {"a": 1}, "entity": RECORD}


@pytest.fixture
async def world(sqlite: Database) -> World:
    def made(tx: Any) -> World:
        world = World.make(tx)
        for name, value in SECRETS.items():
            secrets.put(tx, world.org, name, value, RING)
        return world

    return await sqlite.write(made)


@pytest.fixture
async def on(sqlite: Database, world: World, tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(database=sqlite, files=tmp_path / "files") as opened:
        yield opened


async def bucket(sqlite: Database, org: str, kind: str, **config: Any) -> str:
    made = bucket_of(kind, config, "config")
    return (await sqlite.write(lambda tx: buckets.create(tx, org, "site", made))).id


async def published(
    on: Bench, sqlite: Database, org: str, config: dict[str, Any] | None = None, **context: Any
) -> dict[str, JsonValue]:
    """What the output of a step is that publishes to the bucket `site`."""
    told = Disclosed(Vault(sqlite, RING), org)
    context = {"scope": SCOPE, "org": org, "secrets": told} | context
    answer = await on.run("publish", config or {"bucketId": "site"}, **context)
    assert isinstance(answer, Done)
    assert answer.entity == EntityChange(published=True)
    assert isinstance(answer.output, dict)
    assert isinstance(answer.output.pop("published_at"), int)
    return answer.output


async def failure(
    on: Bench, sqlite: Database, org: str, config: dict[str, Any] | None = None, **context: Any
) -> StepError:
    with pytest.raises(StepError) as caught:
        await published(on, sqlite, org, config, **context)
    return caught.value


def is_signed(request: Delivery, key: str) -> bool:
    """Whether the signature is that of the key: AWS Signature Version 4, written out by hand."""
    scheme, _, rest = request.headers["authorization"].partition(" ")
    assert scheme == "AWS4-HMAC-SHA256"
    parts = dict(part.split("=", 1) for part in rest.split(", "))
    key_id, *scope = parts["Credential"].split("/")
    assert key_id == SECRETS["KEY_ID"]
    assert scope == [request.headers["x-amz-date"][:8], "eu-central-1", "s3", "aws4_request"]
    names = parts["SignedHeaders"].split(";")
    assert {"host", "x-amz-content-sha256", "x-amz-date", "content-type"} <= set(names)
    content = hashlib.sha256(request.body).hexdigest()
    assert request.headers["x-amz-content-sha256"] == content
    lines = [f"{name}:{request.headers[name].strip()}" for name in names]
    canonical = [request.method, request.path, "", *lines, "", parts["SignedHeaders"], content]
    digest = hashlib.sha256("\n".join(canonical).encode()).hexdigest()
    to_sign = f"{scheme}\n{request.headers['x-amz-date']}\n{'/'.join(scope)}\n{digest}"
    signing = f"AWS4{key}".encode()
    for part in [*scope, to_sign]:
        signing = hmac.digest(signing, part.encode(), "sha256")
    return hmac.compare_digest(signing.hex(), parts["Signature"])


# --- a service ---------------------------------------------------------------------------------


async def test_a_service_gets_a_signed_request(
    on: Bench, sqlite: Database, world: World, receiver: Receiver
) -> None:
    made = await bucket(sqlite, world.org, "webhook", url=receiver.url("/in"), secret="SIGNING")
    for config in ({"bucketId": made}, {"bucketId": "site"}, {"target": "site"}):
        out = await published(on, sqlite, world.org, config)
        assert out == {"bucket": "site", "status_code": 200}
    for sent in receiver.deliveries:
        assert Webhook(SECRETS["SIGNING"]).verify(sent.body, sent.headers) == RECORD
        assert sent.key == KEY


async def test_what_scores_too_low_is_not_published(
    on: Bench, sqlite: Database, world: World, receiver: Receiver
) -> None:
    await bucket(sqlite, world.org, "webhook", url=receiver.url())
    config = {"bucketId": "site", "minSeoScore": 60}
    answer = await on.run("publish", config, scope=SCOPE, org=world.org)
    assert isinstance(answer, Skip)
    assert receiver.deliveries == []


# --- a store of objects ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "prefix", ["", "pages", "neue Seiten/Grüße & mehr/日本", "a+b=c/~d%20(e)*'f;g@h:i,j?k#l"]
)
async def test_an_object_is_put_with_a_signature_that_holds(
    on: Bench, sqlite: Database, world: World, receiver: Receiver, prefix: str
) -> None:
    endpoint = receiver.url("")
    await bucket(sqlite, world.org, "s3", endpoint=endpoint, prefix=prefix, **STORE)
    name = f"{prefix}/ef01.json" if prefix else "ef01.json"
    for _ in range(2):
        out = await published(on, sqlite, world.org)
        assert out == {"bucket": "site", "status_code": 200, "object": name}
    first, second = receiver.deliveries
    assert (first.method, first.path) == ("PUT", second.path)
    assert unquote(first.path) == f"/pages/{name}"
    assert json.loads(first.body) == RECORD
    assert is_signed(first, SECRETS["KEY"])
    assert not is_signed(first, SECRETS["KEY"] + "x")
    assert SECRETS["KEY"].encode() not in str(first.headers).encode() + first.body


async def test_a_store_that_refuses_fails_the_step_and_no_secret_is_told(
    on: Bench, sqlite: Database, world: World, receiver: Receiver
) -> None:
    await bucket(sqlite, world.org, "s3", endpoint=receiver.url("/status/403"), **STORE)
    error = await failure(on, sqlite, world.org)
    assert (error.stable_code, error.retryable) == ("http_status", False)
    assert not any(value in error.message for value in SECRETS.values())


async def test_a_store_that_is_busy_is_asked_again_later(
    on: Bench, sqlite: Database, world: World, receiver: Receiver
) -> None:
    await bucket(sqlite, world.org, "s3", endpoint=receiver.url("/status/503"), **STORE)
    error = await failure(on, sqlite, world.org)
    assert (error.stable_code, error.retryable) == ("http_status", True)


async def test_a_store_is_behind_the_door_like_everything(
    on: Bench, sqlite: Database, world: World
) -> None:
    await bucket(sqlite, world.org, "s3", endpoint="http://169.254.169.254", **STORE)
    error = await failure(on, sqlite, world.org)
    assert (error.stable_code, error.retryable) == ("egress_refused", False)


@pytest.mark.parametrize(
    ("config", "url"),
    [
        ({}, "https://pages.s3.eu-central-1.amazonaws.com"),
        ({"pathStyle": True}, "https://s3.eu-central-1.amazonaws.com/pages"),
        ({"endpoint": "http://minio:9000/"}, "http://minio:9000/pages"),
        ({"endpoint": "http://s.example", "pathStyle": False}, "http://pages.s.example"),
    ],
)
def test_where_the_objects_of_a_bucket_are(config: dict[str, Any], url: str) -> None:
    made = bucket_of("s3", STORE | config, "config")
    assert made.kind == "s3"
    assert made.config.url == url


# --- files -------------------------------------------------------------------------------------


async def test_a_file_is_written_whole_and_replaced(
    on: Bench, sqlite: Database, world: World, tmp_path: Path
) -> None:
    await bucket(sqlite, world.org, "file", prefix="pages/neu")
    folder = tmp_path / "files" / world.org / "pages" / "neu"
    for content in ({"n": "é"}, {"n": 2}):
        config = {"bucketId": "site", "content": content}
        out = await published(on, sqlite, world.org, config)
        assert out == {"bucket": "site", "object": "pages/neu/ef01.json"}
        assert json.loads((folder / "ef01.json").read_bytes()) == content
    assert [file.name for file in folder.iterdir()] == ["ef01.json"]


async def test_without_a_record_the_file_is_called_after_run_and_step(
    on: Bench, sqlite: Database, world: World, tmp_path: Path
) -> None:
    await bucket(sqlite, world.org, "file")
    call = StepCall(run="ab", step="step", iteration=[2])
    scope: dict[str, JsonValue] = {"input": [1], "entity": None}
    out = await published(on, sqlite, world.org, scope=scope, call=call)
    assert out["object"] == "ab-step-2.json"
    assert (tmp_path / "files" / world.org / "ab-step-2.json").read_text() == "[1]"


@pytest.mark.parametrize("name", ["../x", "a/b", "..", "", ".x", "a\\b", "a\x00", "x" * 201])
async def test_no_name_leads_out_of_the_directory(
    on: Bench, sqlite: Database, world: World, tmp_path: Path, name: str
) -> None:
    await bucket(sqlite, world.org, "file")
    error = await failure(on, sqlite, world.org, scope={"entity": RECORD | {"id": name}})
    assert (error.stable_code, error.retryable) == ("bad_object_name", False)
    assert not (tmp_path / "files").exists()


async def test_no_link_leads_out_of_the_directory(
    on: Bench, sqlite: Database, world: World, tmp_path: Path
) -> None:
    await bucket(sqlite, world.org, "file", prefix="out")
    (tmp_path / "files" / world.org).mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "files" / world.org / "out").symlink_to(tmp_path / "elsewhere")
    error = await failure(on, sqlite, world.org)
    assert error.stable_code == "file_not_written"
    assert list((tmp_path / "elsewhere").iterdir()) == []


async def test_a_file_that_cannot_be_written_leaves_nothing(
    on: Bench, sqlite: Database, world: World, tmp_path: Path
) -> None:
    await bucket(sqlite, world.org, "file")
    folder = tmp_path / "files" / world.org
    (folder / "ef01.json").mkdir(parents=True)
    error = await failure(on, sqlite, world.org)
    assert (error.stable_code, error.retryable) == ("file_not_written", True)
    assert [file.name for file in folder.iterdir()] == ["ef01.json"]


async def test_without_a_directory_there_are_no_files(sqlite: Database, world: World) -> None:
    await bucket(sqlite, world.org, "file")
    async with bench(database=sqlite) as on:
        error = await failure(on, sqlite, world.org)
    assert (error.stable_code, error.retryable) == ("files_not_configured", False)
    assert "SIGNALBOX_FILES_DIR" in error.message


# --- what is not there -------------------------------------------------------------------------


async def test_a_bucket_of_another_organisation_is_not_there(
    on: Bench, sqlite: Database, world: World
) -> None:
    made = await bucket(sqlite, world.other_org, "file")
    for named in (made, "site"):
        error = await failure(on, sqlite, world.org, {"bucketId": named})
        assert (error.stable_code, error.retryable) == ("bucket_not_found", False)


@pytest.mark.parametrize(
    ("config", "code"),
    [
        ({"secretAccessKey": "GONE"}, "secret_not_found"),
        ({"secretAccessKey": "UNFIT"}, "secret_unfit"),
    ],
)
async def test_a_secret_that_is_no_key_is_named(
    on: Bench, sqlite: Database, world: World, config: dict[str, Any], code: str
) -> None:
    await bucket(sqlite, world.org, "s3", **STORE | config)
    error = await failure(on, sqlite, world.org)
    assert (error.stable_code, error.retryable) == (code, False)
    assert config["secretAccessKey"] in error.message
    assert "printable" not in error.message


async def test_a_secret_that_signs_nothing_is_named(
    on: Bench, sqlite: Database, world: World, receiver: Receiver
) -> None:
    await bucket(sqlite, world.org, "webhook", url=receiver.url(), secret="KEY")
    error = await failure(on, sqlite, world.org)
    assert (error.stable_code, error.retryable) == ("secret_unfit", False)
    assert "'KEY'" in error.message
    assert SECRETS["KEY"] not in error.message
    assert receiver.deliveries == []


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ({}, "one of 'target' and 'bucketId'"),
        ({"target": "a", "bucketId": "b"}, "one of 'target' and 'bucketId'"),
        ({"target": {}}, "'url' is missing"),
        ({"target": {"url": "http://a", "to": "b"}}, "unknown key 'to'"),
        ({"target": ""}, "target"),
        ({"target": 3}, "target"),
    ],
)
def test_what_is_no_place(config: dict[str, Any], complaint: str) -> None:
    raw = {"name": "w", "steps": [{"id": "a", "type": "publish", "config": config}]}
    (problem,) = check(raw, catalog()).problems
    assert complaint in problem.message
