"""Templates: builtin ones from the examples, an organisation's own, and what is made of them."""

from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from sqlalchemy import update

from engine.roles import Role
from store import tables as t
from store.values import encode
from tests.contract.conftest import Door
from tests.contract.full_engine.definitions import QUIET, until

URL = "/api/workflows/templates"
EXAMPLES = {
    path.stem: yaml.safe_load(path.read_text())
    for path in (Path(__file__).parents[3] / "examples").glob("*.yaml")
}
#: An id is for ever: whoever has written one down must find the same template.
IDS = {
    "conditional_alert": "tpl_71d4e1ae1e1db2e6c3a5c4bfa523176d",
    "fetch_and_notify": "tpl_b2efff1584acc843b15eb3d39de9b92a",
    "loop_over_a_list": "tpl_bca0193d3f5c62c58a721c7f9ce2be69",
    "publish_checked_content": "tpl_27cac6da1871e39cb0da838f85e3181f",
    "quarterly_privacy_sweep": "tpl_275a76e80d57cc43aab9a2ec5aecfbbb",
    "scheduled_report": "tpl_18526cdf05a2f5e9b009e8c978b7381d",
    "summarise_and_notify": "tpl_a91333bd7b546eabfd4f969be385c45e",
    "wait_for_a_condition": "tpl_ac4420efe594b0942bb16c65f9c73f7f",
}


async def own(api: httpx2.AsyncClient, **more: Any) -> dict[str, Any]:
    """A new template of a new workflow, as it is answered."""
    workflow = (await api.post("/api/workflows", json={"definition": QUIET})).json()["id"]
    answer = await api.post(URL, json={"workflow_id": workflow, **more})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    assert set(made) == {"template_id", "template"}
    assert made["template_id"] == made["template"]["id"]
    assert answer.headers["location"] == f"{URL}/{made['template_id']}"
    assert (await api.get(answer.headers["location"])).json() == {"template": made["template"]}
    return dict(made["template"])


async def test_every_example_is_a_builtin_template(api: httpx2.AsyncClient) -> None:
    assert set(IDS) == set(EXAMPLES)
    page = (await api.get(URL)).json()
    assert page["total"] == len(EXAMPLES)
    names = [row["name"] for row in page["templates"]]
    assert names == sorted(example["name"] for example in EXAMPLES.values())
    for stem, example in EXAMPLES.items():
        template = (await api.get(f"{URL}/{IDS[stem]}")).json()["template"]
        assert template == {
            "id": IDS[stem],
            "name": example["name"],
            "description": example["description"],
            "category": example["category"],
            "is_builtin": True,
            "created_at": None,
            "definition": example["definition"],
            "sample_input": example["input"],
        }
        assert {key: template[key] for key in page["templates"][0]} in page["templates"]


async def test_pages_hold_every_template_once(api: httpx2.AsyncClient) -> None:
    made = [(await own(api, name=f"own {n}", category="data"))["id"] for n in range(4)][::-1]
    builtin = [row["id"] for row in (await api.get(f"{URL}?is_builtin=1")).json()["templates"]]
    assert sorted(builtin) == sorted(IDS.values())
    every = [*builtin, *made]
    for query, wanted in (
        ("", every),
        ("is_builtin=true", builtin),
        ("is_builtin=false", made),
        ("is_builtin=0", made),
        ("category=data", [IDS["loop_over_a_list"], *made]),
        ("category=data&is_builtin=0", made),
        ("category=data&is_builtin=1", [IDS["loop_over_a_list"]]),
        ("category=nothing", []),
    ):
        seen = []
        for offset in range(0, len(every) + 2, 2):
            page = (await api.get(f"{URL}?{query}&limit=2&offset={offset}")).json()
            assert page["total"] == len(wanted), query
            seen += [row["id"] for row in page["templates"]]
        assert seen == wanted, query


@pytest.mark.parametrize(
    "query", ["limit=201", "limit=0", "offset=-1", "is_builtin=maybe", "category=", "category=%00"]
)
async def test_a_bad_query_is_a_422(api: httpx2.AsyncClient, query: str) -> None:
    answer = await api.get(f"{URL}?{query}")
    assert (answer.status_code, answer.json()["error"]) == (422, "validation_error")


@pytest.mark.parametrize("body", [None, {}, {"name": None}, {"name": "Mine, all mine"}])
async def test_what_is_installed_is_a_draft_of_its_own(
    api: httpx2.AsyncClient, body: dict[str, Any] | None
) -> None:
    for stem, example in EXAMPLES.items():
        name = (body or {}).get("name") or example["name"]
        answer = await api.post(f"{URL}/{IDS[stem]}/install", json=body)
        assert answer.status_code == 201, answer.text
        assert set(answer.json()) == {"workflow_id"}
        assert answer.headers["location"] == f"/api/workflows/{answer.json()['workflow_id']}"
        workflow = (await api.get(answer.headers["location"])).json()["workflow"]
        assert workflow["definition"] == example["definition"] | {"name": name}
        assert (workflow["name"], workflow["status"], workflow["version"]) == (name, "draft", 1)
    assert (await api.get("/api/workflows")).json()["total"] == len(EXAMPLES)


@pytest.mark.usefixtures("worker")
async def test_what_is_installed_runs(api: httpx2.AsyncClient) -> None:
    template = await own(api)
    installed = await api.post(f"{URL}/{template['id']}/install")
    started = await api.post(f"{installed.headers['location']}/run")
    run = await until(api, started.json()["run_id"], "completed", "failed")
    assert (run["status"], run["output"]) == ("completed", 1)


@pytest.mark.parametrize(
    "body", [{"name": ""}, {"name": "a\0b"}, {"name": "x" * 201}, {"title": "x"}, []]
)
async def test_a_wrong_install_is_a_422(api: httpx2.AsyncClient, body: Any) -> None:
    answer = await api.post(f"{URL}/{IDS['fetch_and_notify']}/install", json=body)
    assert answer.status_code == 422
    assert (await api.get("/api/workflows")).json()["total"] == 0


async def test_a_template_keeps_what_it_was_made_of(api: httpx2.AsyncClient) -> None:
    created = await api.post("/api/workflows", json={"definition": QUIET | {"description": "Old."}})
    url, workflow_id = created.headers["location"], created.json()["id"]
    await api.put(url, json={"definition": QUIET | {"name": "Second"}})
    made = {}
    for key, more in (
        ("latest", {}),
        ("first", {"version": 1}),
        ("named", {"version": 1, "name": "N", "description": "", "category": "data"}),
    ):
        answer = await api.post(URL, json={"workflow_id": workflow_id, **more})
        assert answer.status_code == 201, answer.text
        made[key] = answer.json()["template"]
    await api.delete(url)
    for template in made.values():
        kept = (await api.get(f"{URL}/{template['id']}")).json()["template"]
        assert kept == template
        assert (kept["is_builtin"], kept["sample_input"]) == (False, None)
        assert kept["created_at"].endswith("Z")
    described = [(row["name"], row["description"], row["category"]) for row in made.values()]
    assert described == [
        ("Second", None, "custom"),
        ("Quiet", "Old.", "custom"),
        ("N", "", "data"),
    ]
    assert made["latest"]["definition"] == QUIET | {"name": "Second"}
    assert made["named"]["definition"] == QUIET | {"name": "N", "description": "Old."}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"workflow_id": f"wf_{'0' * 32}"}, 404),
        ({"workflow_id": "wf_\0"}, 404),
        ({"workflow_id": "$mine", "version": 2}, 404),
        ({"workflow_id": "$mine", "version": "1"}, 422),
        ({"workflow_id": "$mine", "name": ""}, 422),
        ({"workflow_id": "$mine", "description": "a\0"}, 422),
        ({"workflow_id": "$mine", "category": ""}, 422),
        ({"workflow_id": "$mine", "category": None}, 422),
        ({"workflow_id": "$mine", "definition": QUIET}, 422),
    ],
)
async def test_a_wrong_template_is_refused_and_not_kept(
    api: httpx2.AsyncClient, body: dict[str, Any], status: int
) -> None:
    created = await api.post("/api/workflows", json={"definition": QUIET})
    if body.get("workflow_id") == "$mine":
        body = body | {"workflow_id": created.json()["id"]}
    assert (await api.post(URL, json=body)).status_code == status
    assert (await api.get(f"{URL}?is_builtin=0")).json()["total"] == 0


async def test_a_template_is_deleted_once_and_a_builtin_one_never(api: httpx2.AsyncClient) -> None:
    template = await own(api)
    installed = await api.post(f"{URL}/{template['id']}/install")
    answer = await api.delete(f"{URL}/{template['id']}")
    assert (answer.status_code, answer.json()) == (200, {"success": True})
    assert (await api.delete(f"{URL}/{template['id']}")).status_code == 404
    assert (await api.get(installed.headers["location"])).status_code == 200
    builtin = f"{URL}/{IDS['fetch_and_notify']}"
    refused = await api.delete(builtin)
    assert (refused.status_code, refused.json()["error"]) == (409, "conflict")
    assert (await api.get(builtin)).status_code == 200


async def test_a_template_that_is_not_valid_any_more_is_not_installed(
    api: httpx2.AsyncClient, door: Door
) -> None:
    template = await own(api)
    old = QUIET | {"steps": [{"id": "a", "type": "a_type_that_is_gone", "config": {}}]}
    outdated = update(t.templates).where(t.templates.c.id == template["id"].removeprefix("tpl_"))
    await door.database.write(lambda tx: tx.execute(outdated.values(definition=encode(old))))
    answer = await api.post(f"{URL}/{template['id']}/install")
    assert answer.status_code == 422
    assert "a_type_that_is_gone" in answer.json()["errors"][0]


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("POST", "/install"), ("DELETE", "")])
async def test_foreign_and_unknown_look_the_same(
    api: httpx2.AsyncClient, door: Door, method: str, path: str
) -> None:
    mine = (await own(api))["id"]
    workflow = (await api.get("/api/workflows")).json()["workflows"][0]["id"]
    ids = (mine, mine.removeprefix("tpl_"), f"tpl_{'0' * 32}", "tpl_%00")
    async with door.client(await door.key(Role.ADMIN, "others")) as stranger:
        answers = [await stranger.request(method, f"{URL}/{id_}{path}") for id_ in ids]
        assert (await stranger.get(f"{URL}?is_builtin=0")).json() == {"templates": [], "total": 0}
        made = await stranger.post(URL, json={"workflow_id": workflow})
        assert made.status_code == 404
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.content for answer in answers}) == 1
    assert (await api.get(f"{URL}/{mine}")).status_code == 200
