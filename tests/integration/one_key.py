"""Many clients that send the same request with the same key at the same time."""

import asyncio
import secrets
from collections.abc import Sequence

import httpx2

from tests.integration.site import PATIENCE, Site

CLIENTS = 50
DEFINITION = {"steps": [{"id": "one", "type": "transform", "config": {"output": "{{ input }}"}}]}


async def one_run_a_round(site: Site, urls: Sequence[str], rounds: int) -> None:
    """Every round starts exactly one run, and every client gets its answer.

    Args:
        site: what the processes at these addresses belong to.
        urls: the APIs, which the clients come to in turns.
        rounds: how often, each time with another key.
    """
    name = f"one key {secrets.token_hex(4)}"
    workflow = await site.define({"name": name, **DEFINITION})
    started = set()
    clients = [
        httpx2.AsyncClient(
            base_url=urls[number % len(urls)],
            headers=site.http.headers,
            timeout=PATIENCE,
            trust_env=False,
        )
        for number in range(CLIENTS)
    ]
    try:
        for _ in range(rounds):
            key = secrets.token_hex(8)
            answers = await asyncio.gather(
                *(
                    client.post(
                        f"/v1/workflows/{name}/run",
                        json={"input": {"client": number}},
                        headers={"Idempotency-Key": key},
                    )
                    for number, client in enumerate(clients)
                )
            )
            assert {answer.status_code for answer in answers} == {201}, site.tail()
            assert len({answer.content for answer in answers}) == 1
            assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1
            started.add(answers[0].json()["workflow_run_id"].replace("cbwr_", "run_"))
    finally:
        for client in clients:
            await client.aclose()
    assert len(started) == rounds
    await site.completed(workflow, rounds)
    assert set(await site.statuses(workflow)) == started
