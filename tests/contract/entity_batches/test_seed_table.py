"""The published routes and the open questions, each with the tests that show our answer."""

import ast
import re
from pathlib import Path

from fastapi import FastAPI

from tests.contract.full_engine.test_docs import routes

HERE = Path(__file__).parent
W, J = "/api/v1/workflows", "/api/v1/jobs"
#: Number, method and path of what is published: contracts §2.2. `test_seed` quotes it.
TABLE = [
    ("b1", "GET", W),
    ("b2", "GET", f"{W}/{{workflowId}}"),
    ("b3", "POST", W),
    ("b4", "POST", f"{W}/{{workflowId}}/run"),
    ("b5", "GET", f"{W}/{{workflowId}}/runs/{{runId}}"),
    ("b6", "GET", J),
    ("b7", "GET", f"{J}/{{jobId}}"),
    ("b8", "POST", f"{J}/{{jobId}}/cancel"),
]


def written() -> set[str]:
    """The names of all tests of this surface."""
    return {
        node.name
        for path in HERE.glob("test_*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef)
    }


def test_the_published_routes_are_there_and_quoted(app: FastAPI) -> None:
    there = routes(app)
    assert {(method, path) for _, method, path in TABLE} <= {*there}
    quoted = {name.split("_")[1] for name in written() if re.match(r"test_b\d_", name)}
    assert quoted == {number for number, _, _ in TABLE}


def test_every_question_has_a_test() -> None:
    found = {int(n) for name in written() for n in re.findall(r"^test_b_q(\d+)_", name)}
    assert found == {*range(1, 17)}
