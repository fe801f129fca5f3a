"""The published page of the API, its requests and answers: schedules. One test for each route."""

import httpx2

from tests.contract.full_engine.timing import create

PUBLISHED = {
    "cron_expression": "0 9 * * 1-5",
    "timezone": "America/New_York",
    "input_data": {"dataset": "daily"},
}


async def test_c22_list_schedules_for_a_workflow(api: httpx2.AsyncClient) -> None:
    """GET /api/workflows/{id}/schedules"""
    workflow = await create(api)
    made = await api.post(f"/api/workflows/{workflow}/schedules", json=PUBLISHED)
    answer = await api.get(f"/api/workflows/{workflow}/schedules")
    assert answer.status_code == 200
    (schedule,) = answer.json()["schedules"]
    assert schedule["id"] == made.json()["schedule_id"]
    assert schedule["workflow_id"] == workflow
    assert PUBLISHED.items() <= schedule.items()


async def test_c23_create_a_schedule(api: httpx2.AsyncClient) -> None:
    """Returns 201 with {"schedule_id": "sched_abc123"}."""
    workflow = await create(api)
    answer = await api.post(f"/api/workflows/{workflow}/schedules", json=PUBLISHED)
    assert answer.status_code == 201
    assert list(answer.json()) == ["schedule_id"]
    assert answer.json()["schedule_id"].startswith("sched_")


async def test_c24_delete_a_schedule(api: httpx2.AsyncClient) -> None:
    """DELETE /api/workflows/schedules/{id}"""
    workflow = await create(api)
    made = await api.post(f"/api/workflows/{workflow}/schedules", json=PUBLISHED)
    url = f"/api/workflows/schedules/{made.json()['schedule_id']}"
    assert (await api.delete(url)).status_code == 200
    assert (await api.get(url)).status_code == 404
    listed = await api.get(f"/api/workflows/{workflow}/schedules")
    assert listed.json()["schedules"] == []
