"""The open questions of the published pages, each with the tests that show our answer."""

import ast
import re
from pathlib import Path

from fastapi import FastAPI

from tests.contract.full_engine.test_docs import routes

CONTRACT = Path(__file__).parents[1]
W = "/v1/workflows"
#: Number, method, path, and the test that quotes what the page says of it: contracts §1.2.
TABLE = [
    ("A-1", "POST", f"{W}/{{workflow_name}}/run", "test_a1_run_a_workflow"),
    ("A-2", "GET", f"{W}/runs/{{workflow_run_id}}", "test_a2_get_a_workflow_run"),
    ("A-3", "GET", f"{W}/runs", "test_a3_list_workflow_runs"),
    ("A-4", "POST", f"{W}/{{workflow_name}}/schedule", "test_a4_schedule_a_workflow"),
]


def written() -> set[str]:
    """The names of all contract tests."""
    return {
        node.name
        for path in CONTRACT.rglob("test_*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef)
    }


def test_the_published_routes_are_there_and_quoted(app: FastAPI) -> None:
    there, named = routes(app), written()
    for number, method, path, test in TABLE:
        assert (method, path) in there, number
        assert test in named, number


def test_every_question_has_a_test() -> None:
    found = {int(n) for name in written() for n in re.findall(r"^test_a_q(\d+)_", name)}
    assert found == {*range(1, 19)}
