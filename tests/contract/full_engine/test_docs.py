"""The reference pages say what the code does."""

import json
import re
from pathlib import Path

import httpx2
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import Match, Route

from app.envelope import STATUS, Needs
from app.services.door import DEEPEST, LARGEST_BODY, LONGEST_STRING, MOST_NODES
from app.surfaces.full_engine.errors import PUBLISHED
from engine.lifecycle import EventType

DOCS = Path(__file__).parents[3] / "docs" / "reference"
ROUTE = re.compile(r"^### `(\w+) (\S+)` \((\w+)\)$", re.MULTILINE)


def routes(app: FastAPI) -> dict[tuple[str, str], str]:
    """Method and path of every route that needs a key, and the role that it needs."""
    found = {}
    for route in app.router.routes:
        if isinstance(route, APIRoute):
            needs = [d.call for d in route.dependant.dependencies if isinstance(d.call, Needs)]
            for method in route.methods or () if needs else ():
                found[method, route.path] = str(needs[0].role)
    return found


def test_the_pages_have_every_route_with_its_role(app: FastAPI) -> None:
    written = [found for page in DOCS.glob("api-*.md") for found in ROUTE.findall(page.read_text())]
    assert {(method, path): role for method, path, role in written} == routes(app)
    assert len(written) == len(routes(app))


def test_the_page_has_every_event() -> None:
    text = (DOCS / "api-workflows.md").read_text()
    assert [name for name in EventType if f"`{name}`" not in text] == []


def test_the_page_of_errors_has_every_code_and_limit() -> None:
    text = (DOCS / "errors.md").read_text()
    written = dict(re.findall(r"^\| (\d+) \| `(\w+)`", text, re.MULTILINE))
    for status, code in PUBLISHED.items():
        assert written[str(status)] == code
    assert {str(status) for status in STATUS.values()} <= set(written)
    assert LARGEST_BODY == 2**20
    for limit in (DEEPEST, MOST_NODES, LONGEST_STRING):
        assert f"{limit:,}" in text


async def test_every_declared_error_has_the_same_shape(api: httpx2.AsyncClient) -> None:
    document = (await api.get("/openapi.json")).json()
    checked = 0
    for path, operations in document["paths"].items():
        if not path.startswith("/api/"):
            continue
        for operation in operations.values():
            for status, answer in operation["responses"].items():
                if int(status) >= 400:
                    (content,) = answer["content"].values()
                    shape = "ErrorEnvelopeOut" if path.startswith("/api/v1/") else "ErrorOut"
                    assert content["schema"] == {"$ref": f"#/components/schemas/{shape}"}, path
                    checked += 1
    assert checked > 50
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_no_route_takes_the_requests_of_another(app: FastAPI) -> None:
    for method, path in routes(app):
        sample = re.sub(r"{\w+}", "any", path)
        scope = {"type": "http", "method": method, "path": sample, "headers": []}
        answers = next(
            route
            for route in app.router.routes
            if isinstance(route, Route) and route.matches(scope)[0] is Match.FULL
        )
        assert answers.path == path


async def test_the_kept_openapi_document_is_that_of_the_code(api: httpx2.AsyncClient) -> None:
    """`make reference` writes it anew."""
    kept = json.loads((DOCS / "openapi.json").read_text())
    assert kept == (await api.get("/openapi.json")).json()
