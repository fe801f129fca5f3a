"""What a workflow says that has no effect is kept, and its author is told."""

from typing import Any

import httpx2

from tests.contract.entity_batches.flock import TYPE, WORKFLOWS, refusal

RULE = {"field": "title", "rule": "required"}


async def warnings(
    api: httpx2.AsyncClient, *steps: dict[str, Any], kind: str = "Product"
) -> list[dict[str, str]] | None:
    """What the answer warns of; None where it has no such key."""
    if (await api.get("/api/v1/entity-types/Product")).status_code == 404:
        assert (await api.post("/api/v1/entity-types", json=TYPE)).status_code == 201
    body = {"name": "Check", "entityTypeId": kind, "steps": [*steps]}
    answer = await api.post(WORKFLOWS, json=body)
    assert answer.status_code == 201, answer.text
    row = answer.json()
    assert [step["config"] for step in row["steps"]] == [step["config"] for step in steps]
    assert "warnings" not in (await api.get(f"{WORKFLOWS}/{row['id']}")).json()
    found: list[dict[str, str]] | None = row.get("warnings")
    return found


async def test_keys_that_no_step_knows_are_told_of(api: httpx2.AsyncClient) -> None:
    step = {"type": "validate", "config": {"rules": [RULE, RULE | {"hue": 1}], "colour": "red"}}
    assert await warnings(api, {"type": "transform", "config": {"output": 1}}, step) == [
        {
            "path": "steps[1].config.colour",
            "message": "steps[1].config.colour: has no effect, a 'validate' step knows no such key",
        },
        {
            "path": "steps[1].config.rules[1].hue",
            "message": "steps[1].config.rules[1].hue: has no effect, a 'validate' step knows no "
            "such key",
        },
    ]


async def test_fields_that_the_type_does_not_have_are_told_of(api: httpx2.AsyncClient) -> None:
    inner = {"any": [{"field": "c", "operator": "empty"}]}
    transforms = [
        {"field": "title", "transform": "trim", "target": "b"},
        {"field": "title.x", "transform": "trim"},
    ]
    other = {"value": {"e": 1}, "rules": [{"field": "e", "rule": "url"}]}
    steps: list[dict[str, Any]] = [
        {"type": "validate", "config": {"rules": [RULE, {"field": "a.b", "rule": "url"}]}},
        {"type": "transform", "config": {"transforms": transforms}},
        {"type": "condition", "config": {"all": [{"field": "title", "operator": "empty"}, inner]}},
        {"type": "ai_generate", "config": {"fields": ["title", "d"]}},
        {"type": "validate", "config": other},
    ]
    found = await warnings(api, *steps)
    assert found is not None
    assert [one["path"] for one in found] == [
        "steps[0].config.rules[1].field",
        "steps[1].config.transforms[0].target",
        "steps[2].config.all[1].any[0].field",
        "steps[3].config.fields[1]",
    ]
    assert found[0]["message"] == (
        "steps[0].config.rules[1].field: entities of type 'Product' have no field 'a.b'"
    )
    # A builtin type takes any fields.
    assert await warnings(api, *steps, kind="Vendor") is None


async def test_nothing_is_said_where_there_is_nothing(api: httpx2.AsyncClient) -> None:
    assert await warnings(api, {"type": "validate", "config": {"rules": [RULE]}}) is None
    body = {"name": "x", "entityTypeId": "No", "steps": [{"type": "validate", "config": {"a": 1}}]}
    assert "warnings" not in refusal(await api.post(WORKFLOWS, json=body), 400)


async def test_a_change_of_the_steps_is_looked_at_likewise(api: httpx2.AsyncClient) -> None:
    fine = {"type": "validate", "config": {"rules": [RULE]}}
    assert await warnings(api, fine) is None
    (row,) = (await api.get(WORKFLOWS)).json()["data"]
    url = f"{WORKFLOWS}/{row['id']}"
    odd = {"type": "validate", "config": {"rules": [RULE], "colour": "red"}}
    changed = (await api.patch(url, json={"steps": [fine, odd]})).json()
    assert [one["path"] for one in changed["warnings"]] == ["steps[1].config.colour"]
    assert "warnings" not in (await api.patch(url, json={"name": "New"})).json()
