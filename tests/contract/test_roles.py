"""Who may do what: every route of the OpenAPI document and every role, against the pages."""

import re
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI

from app.main import public_routes
from engine.roles import Role
from tests.contract.conftest import Door

DOCS = Path(__file__).parents[2] / "docs" / "reference"
HEADING = re.compile(r"^### `(\w+) (\S+)` \((\w+)\)$", re.MULTILINE)
_PARAMETER = re.compile(r"{\w+}")


def operations(app: FastAPI) -> set[tuple[str, str]]:
    """Method and path of everything in the document that needs a key."""
    public = {route.path for route in public_routes(app)}
    return {
        (method.upper(), path)
        for path, methods in app.openapi()["paths"].items()
        if path not in public
        for method in methods
    }


def ladder(app: FastAPI) -> dict[tuple[str, str], Role]:
    """The lowest role of every route of the document, as the pages have it."""
    written = {
        (method, path): Role(role)
        for page in DOCS.glob("api-*.md")
        for method, path, role in HEADING.findall(page.read_text())
    }
    return {operation: written[operation] for operation in operations(app)}


def test_the_pages_speak_of_every_role(app: FastAPI) -> None:
    assert set(ladder(app).values()) == set(Role)


@pytest.mark.parametrize("role", Role)
async def test_a_role_may_what_the_pages_say_and_no_more(
    app: FastAPI, door: Door, role: Role
) -> None:
    """What may be done does nothing here: there is no thing of the name, and no body."""
    tried = 0
    async with door.client(await door.key(role)) as client:
        for (method, path), needed in sorted(ladder(app).items()):
            answer = await client.request(method, _PARAMETER.sub("x", path))
            if role.allows(needed):
                assert answer.status_code not in (401, 403), (method, path, answer.text)
            else:
                assert (answer.status_code, said(path, answer)) == denied(path), (method, path)
            tried += 1
    assert tried == len(operations(app)) > 40


def denied(path: str) -> tuple[int, str]:
    """Status and words with which the surface of the path says that the role is too low."""
    return (401, "Unauthorized role.") if path.startswith("/v1/") else (403, "forbidden")


def said(path: str, answer: httpx2.Response) -> object:
    """The words of an error, where the surface of the path has them."""
    body = answer.json()
    if path.startswith("/v1/"):
        return body["detail"]
    return body["error"]["code"] if path.startswith("/api/v1/") else body["error"]


def test_what_does_not_fit_is_declared_with_the_status_that_it_has(app: FastAPI) -> None:
    """On `/api/v1` that is 400, and 422 only says that a key came before with another body."""
    document = app.openapi()
    assert "HTTPValidationError" not in document["components"]["schemas"]
    for path, operations in document["paths"].items():
        if not path.startswith("/api/v1/"):
            continue
        for method, operation in operations.items():
            names = {parameter["name"] for parameter in operation.get("parameters", [])}
            assert "400" in operation["responses"], (method, path)
            assert ("422" in operation["responses"]) is ("Idempotency-Key" in names), (method, path)
