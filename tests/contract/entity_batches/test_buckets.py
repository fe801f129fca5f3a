"""Buckets over the wire."""

from typing import Any

import httpx2
import pytest

BUCKETS = "/api/v1/buckets"
CONFIGS: dict[str, dict[str, Any]] = {
    "webhook": {"url": "https://cms.example.com/in", "secret": "SIGNING"},
    "s3": {
        "bucket": "pages",
        "region": "eu-central-1",
        "endpoint": "https://storage.example.com:9000",
        "prefix": "neue Seiten/ü",
        "accessKeyId": "SITE_KEY_ID",
        "secretAccessKey": "SITE_KEY",
        "pathStyle": True,
    },
    "file": {"prefix": "pages"},
}


async def made(api: httpx2.AsyncClient, name: str = "site", kind: str = "s3") -> dict[str, Any]:
    answer = await api.post(BUCKETS, json={"name": name, "kind": kind, "config": CONFIGS[kind]})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize("kind", CONFIGS)
async def test_the_life_of_a_bucket(api: httpx2.AsyncClient, kind: str) -> None:
    row = await made(api, kind=kind)
    assert row == {
        "id": row["id"],
        "name": "site",
        "kind": kind,
        "config": CONFIGS[kind],
        "createdAt": row["createdAt"],
        "updatedAt": row["createdAt"],
    }
    for named in (row["id"], "site"):
        assert (await api.get(f"{BUCKETS}/{named}")).json() == row
    assert (await api.get(BUCKETS)).json() == {"data": [row], "total": 1, "hasMore": False}
    renamed = (await api.patch(f"{BUCKETS}/site", json={"name": "new"})).json()
    assert renamed == row | {"name": "new", "updatedAt": renamed["updatedAt"]}
    gone = await api.delete(f"{BUCKETS}/{row['id']}")
    assert (gone.status_code, gone.json()) == (200, {"id": row["id"], "deleted": True})
    for method in ("GET", "DELETE"):
        answer = await api.request(method, f"{BUCKETS}/{row['id']}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


async def test_a_config_is_replaced_and_fits_the_kind(api: httpx2.AsyncClient) -> None:
    row = await made(api, kind="webhook")
    url = f"{BUCKETS}/{row['id']}"
    config = {"url": "https://other.example.com/"}
    assert (await api.patch(url, json={"config": config})).json()["config"] == config
    refused = await api.patch(url, json={"config": CONFIGS["file"]})
    assert refused.status_code == 400
    details = {detail["path"] for detail in refused.json()["error"]["details"]}
    assert details == {"config.url", "config.prefix"}
    assert (await api.get(url)).json()["config"] == config
    changed = (await api.get(url)).json()
    for nothing in ({}, {"name": "site"}, {"config": config}, {"name": None, "config": None}):
        assert (await api.patch(url, json=nothing)).json() == changed


async def test_a_name_is_one_bucket_s(api: httpx2.AsyncClient) -> None:
    await made(api, "a")
    other = await made(api, "b")
    body = {"name": "a", "kind": "file", "config": {}}
    for answer in (
        await api.post(BUCKETS, json=body),
        await api.patch(f"{BUCKETS}/{other['id']}", json={"name": "a"}),
    ):
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")
    listed = (await api.get(BUCKETS, params={"limit": 1})).json()
    assert (listed["data"][0]["name"], listed["total"], listed["hasMore"]) == ("a", 2, True)


@pytest.mark.parametrize(
    ("kind", "config", "path"),
    [
        ("webhook", {}, "config.url"),
        ("webhook", {"url": "ftp://a"}, "config.url"),
        ("webhook", {"url": "https://a", "secret": "whsec_abc-def"}, "config.secret"),
        ("s3", CONFIGS["s3"] | {"bucket": "../x"}, "config.bucket"),
        ("s3", CONFIGS["s3"] | {"region": "eu/1"}, "config.region"),
        ("s3", CONFIGS["s3"] | {"endpoint": "https://a/?b"}, "config.endpoint"),
        ("s3", CONFIGS["s3"] | {"secretAccessKey": "a b"}, "config.secretAccessKey"),
        ("s3", CONFIGS["s3"] | {"acl": "public"}, "config.acl"),
        ("file", {"prefix": "a/../b"}, "config.prefix"),
        ("file", {"prefix": "/a"}, "config.prefix"),
        ("file", {"prefix": "a/"}, "config.prefix"),
        ("file", {"prefix": "a\\b"}, "config.prefix"),
        ("file", {"prefix": "a\x00"}, "config.prefix"),
        ("ftp", {}, "kind"),
    ],
)
async def test_what_is_no_bucket(
    api: httpx2.AsyncClient, kind: str, config: dict[str, Any], path: str
) -> None:
    answer = await api.post(BUCKETS, json={"name": "a", "kind": kind, "config": config})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == "validation_error"
    assert [detail["path"] for detail in error["details"]] == [path]
    assert (await api.get(BUCKETS)).json()["total"] == 0


@pytest.mark.parametrize("name", ["", "a/b", "0" * 32, "x" * 101, "a\nb"])
async def test_what_is_no_name(api: httpx2.AsyncClient, name: str) -> None:
    answer = await api.post(BUCKETS, json={"name": name, "kind": "file", "config": {}})
    assert answer.status_code == 400
