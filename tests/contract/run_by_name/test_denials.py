"""What `/v1` answers where there is nothing."""

import httpx2


async def test_a_q18_unknown_routes_and_methods(api: httpx2.AsyncClient) -> None:
    answer = await api.get("/v1/nothing")
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})
