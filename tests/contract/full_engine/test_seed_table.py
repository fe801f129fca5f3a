"""The 24 routes of the published page, each with the test that quotes what the page says of it."""

import ast
from pathlib import Path

import pytest
from fastapi import FastAPI

from tests.contract.full_engine.test_docs import routes

HERE = Path(__file__).parent
W = "/api/workflows"
#: Number, method, path, and the test: contracts §3.2.
TABLE = [
    ("C-1", "GET", W, "test_list_workflows"),
    ("C-2", "POST", W, "test_create_a_workflow"),
    ("C-3", "GET", f"{W}/{{workflow_id}}", "test_get_a_workflow"),
    ("C-4", "PUT", f"{W}/{{workflow_id}}", "test_update_a_workflow"),
    ("C-5", "DELETE", f"{W}/{{workflow_id}}", "test_delete_a_workflow"),
    ("C-6", "PATCH", f"{W}/{{workflow_id}}/status", "test_update_workflow_status"),
    ("C-7", "POST", f"{W}/validate", "test_validate"),
    ("C-8", "GET", f"{W}/{{workflow_id}}/versions", "test_list_versions"),
    ("C-9", "GET", f"{W}/{{workflow_id}}/versions/{{version}}", "test_get_a_specific_version"),
    ("C-10", "GET", f"{W}/{{workflow_id}}/diff", "test_diff_two_versions"),
    ("C-11", "POST", f"{W}/{{workflow_id}}/rollback", "test_roll_back_to_a_version"),
    ("C-12", "POST", f"{W}/{{workflow_id}}/run", "test_c12_run_a_workflow"),
    ("C-13", "GET", f"{W}/{{workflow_id}}/runs", "test_c13_list_runs_for_a_workflow"),
    ("C-14", "GET", f"{W}/runs/{{run_id}}", "test_c14_get_a_run"),
    ("C-15", "POST", f"{W}/runs/{{run_id}}/cancel", "test_c15_cancel_a_run"),
    ("C-16", "POST", f"{W}/runs/{{run_id}}/resume", "test_c16_resume_a_paused_run"),
    ("C-17", "DELETE", f"{W}/runs/{{run_id}}", "test_c17_delete_a_run"),
    ("C-18", "GET", f"{W}/runs/{{run_id}}/stream", "test_c18_stream_run_events"),
    ("C-19", "GET", f"{W}/templates", "test_list_templates"),
    ("C-20", "GET", f"{W}/templates/{{template_id}}", "test_get_a_template"),
    ("C-21", "POST", f"{W}/templates/{{template_id}}/install", "test_install_a_template"),
    ("C-22", "GET", f"{W}/{{workflow_id}}/schedules", "test_c22_list_schedules_for_a_workflow"),
    ("C-23", "POST", f"{W}/{{workflow_id}}/schedules", "test_c23_create_a_schedule"),
    ("C-24", "DELETE", f"{W}/schedules/{{schedule_id}}", "test_c24_delete_a_schedule"),
]


def quoting() -> set[str]:
    """The names of all tests in the files that quote the page."""
    return {
        node.name
        for path in HERE.glob("test_seed_*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.AsyncFunctionDef)
    }


def test_there_are_twenty_four() -> None:
    assert [number for number, *_ in TABLE] == [f"C-{n}" for n in range(1, 25)]
    assert len({test for *_, test in TABLE}) == 24


@pytest.mark.parametrize(("number", "method", "path", "test"), TABLE)
def test_a_published_route_is_there_and_quoted(
    app: FastAPI, number: str, method: str, path: str, test: str
) -> None:
    assert (method, path) in routes(app), number
    assert test in quoting(), number
