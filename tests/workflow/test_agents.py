"""Agents and models inside runs: what is recorded of them, how they end, and what stays secret."""

import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment

from engine.agent import AgentSpec
from engine.lifecycle import EventType, RunStatus, StepStatus
from engine.usage import Usage
from store import agents, organisations
from store.database import Database, Tx
from tests.house import House, open_house
from tests.model_server import OPENAI_KEY, TOKENS, Calls, Fails, ModelServer, Says, calls
from tests.receiver import Receiver
from tests.workflow.batching import started
from tests.workflow.definitions import flow, step

WENT_IN, CAME_OUT = TOKENS
PROMPT, ANSWER = "the-words-of-the-prompt", "the-words-of-the-answer"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"title": {"type": "string"}},
    "required": ["title"],
}


@pytest.fixture
async def models() -> AsyncIterator[ModelServer]:
    async with ModelServer([Says(ANSWER)]) as models:
        yield models


@pytest.fixture
async def asking(
    models: ModelServer, server: WorkflowEnvironment, sqlite: Database
) -> AsyncIterator[House]:
    """A house whose worker asks that server."""
    async with open_house(server.client, sqlite, variables=models.settings()) as house:
        yield house


async def agent(house: House, name: str = "helper", **spec: Any) -> str:
    """The id of a new agent."""
    row = await house.database.write(
        lambda tx: agents.create(tx, house.org, name, AgentSpec.model_validate(spec))
    )
    return f"agent_{row.id}"


def task(agent_id: str, *after: str, **config: Any) -> dict[str, Any]:
    return step("agent_task", "ask", *after, agent_id=agent_id, **({"goal": PROMPT} | config))


def generate(**more: Any) -> dict[str, Any]:
    return step("ai_generate", "ask", prompt=PROMPT) | more


async def error_of(house: House, run_id: str) -> tuple[str, Usage | None]:
    """The code of the step's failure, and what the step has used."""
    row = (await house.steps(run_id))["ask"]
    assert row.error is not None
    return row.error["code"], row.usage


async def test_the_words_of_an_agent_are_the_output(asking: House, models: ModelServer) -> None:
    by_id = await agent(asking, instructions="Be kind.", settings={"temperature": 0.1})
    for named in (by_id, "helper"):
        run = await asking.finish(flow(task(named)))
        assert run.status is RunStatus.COMPLETED
        row = (await asking.steps(run.id))["ask"]
        assert row.output == ANSWER
        assert row.usage == Usage(1, WENT_IN, CAME_OUT)
    asked = models.asked[0].body
    assert "Be kind." in str(asked["messages"])
    assert asked["temperature"] == 0.1
    assert "tools" not in asked


async def test_agents_of_others_are_not_found(asking: House, models: ModelServer) -> None:
    def foreign(tx: Tx) -> str:
        return agents.create(tx, organisations.ensure(tx, "another"), "theirs", AgentSpec()).id

    identity = await asking.database.write(foreign)
    for named in (f"agent_{identity}", "theirs"):
        run = await asking.finish(flow(task(named)))
        assert await error_of(asking, run.id) == ("agent_not_found", None)
    assert models.asked == []


async def test_what_an_agent_is_told(asking: House, models: ModelServer) -> None:
    """The outputs of the steps depended on, unless the step says what."""
    await agent(asking)
    before = step("transform", "before", output={"n": 41})
    other = step("transform", "other", output="elsewhere")
    await asking.finish(flow(before, other, task("helper", "before")))
    told = models.asked[0].body["messages"][-1]["content"]
    assert PROMPT in told
    assert '{"before": {"n": 41}}' in told
    assert "elsewhere" not in told
    context = {"only": "{{ steps.before.output.n + 1 }}"}
    await asking.finish(flow(before, task("helper", "before", context=context)))
    told = models.asked[1].body["messages"][-1]["content"]
    assert '{"only": 42}' in told
    assert "before" not in told


async def test_objects(asking: House, models: ModelServer) -> None:
    """The schema of the step goes before that of the agent."""
    await agent(asking, output_schema={"type": "object", "required": ["other"]})
    models.answers = [calls("final_result", title="One")]
    run = await asking.finish(flow(task("helper", output_schema=SCHEMA)))
    assert (await asking.steps(run.id))["ask"].output == {"title": "One"}
    run = await asking.finish(flow(task("helper")))
    assert (await error_of(asking, run.id))[0] == "output_invalid"


async def test_tools_are_off_unless_they_are_listed(
    asking: House, models: ModelServer, receiver: Receiver
) -> None:
    await agent(asking)
    models.answers = [calls("http_request", url=receiver.url("/x"))]
    run = await asking.finish(flow(task("helper")))
    assert run.status is RunStatus.FAILED
    assert receiver.deliveries == []


async def test_a_tool_reaches_out_under_keys_of_the_step(
    asking: House, models: ModelServer, receiver: Receiver
) -> None:
    """Two calls have two keys; another attempt that makes the same calls has the same ones."""
    await agent(asking, tools=["http_request"])
    post = {"url": receiver.url("/post"), "method": "POST", "body": "x"}
    forged = post | {"headers": {"Idempotency-Key": "forged"}}
    both = Calls((("http_request", post), ("http_request", forged)))
    models.answers = [both, Fails(500), both, Says("Done.")]
    ask = task("helper") | {"retry": {"max_attempts": 2, "delay": 0}}
    run = await asking.finish(flow(ask))
    row = (await asking.steps(run.id))["ask"]
    assert row.output == "Done."
    assert row.usage == Usage(3, 3 * WENT_IN, 3 * CAME_OUT)
    keys = receiver.keys("/post")
    assert sorted(keys.values()) == [2, 2]
    assert all(key.startswith(f"{run.id}/ask/-/1/") for key in keys)
    answer = str(models.asked[-1].body["messages"])
    assert "status_code" in answer


async def test_a_tool_keeps_to_its_hosts_and_to_the_door(
    asking: House, models: ModelServer, receiver: Receiver
) -> None:
    here, metadata = receiver.url("/x"), "http://169.254.169.254/latest"
    for name, hosts, url, told in (
        ("any", None, metadata, "link-local"),
        ("one", ["api.example.com"], here, "api.example.com only"),
        ("below", ["*.example.com"], "http://example.com/", "*.example.com only"),
        ("none", [], here, "nobody only"),
    ):
        await agent(asking, name, tools=["http_request"], hosts=hosts)
        models.answers = [calls("http_request", url=url), Says("Well.")]
        run = await asking.finish(flow(task(name)))
        assert run.status is RunStatus.COMPLETED
        assert told in str(models.asked[-1].body["messages"])
    assert receiver.deliveries == []
    await agent(asking, "this", tools=["http_request"], hosts=["127.0.0.1"])
    models.answers = [calls("http_request", url=here), Says("Well.")]
    await asking.finish(flow(task("this")))
    assert receiver.count("/x") == 1


async def test_a_tool_does_not_flood_the_model(
    asking: House, models: ModelServer, receiver: Receiver
) -> None:
    await agent(asking, tools=["http_request"])
    for size, told in ((100_000, "truncated"), (2_000_000, "is larger than")):
        models.answers = [calls("http_request", url=receiver.url(f"/big/{size}")), Says("Well.")]
        await asking.finish(flow(task("helper")))
        answer = str(models.asked[-1].body["messages"])
        assert told in answer
        assert len(answer) < 40_000


async def test_a_step_narrows_the_budget_of_its_agent(
    asking: House, models: ModelServer, receiver: Receiver
) -> None:
    await agent(asking, tools=["http_request"], budget={"max_requests": 3})
    models.answers = [calls("http_request", url=receiver.url("/x"))]
    for asked, expected in ((2, 2), (50, 3)):
        run = await asking.finish(flow(task("helper", budget={"max_requests": asked})))
        used = Usage(expected, expected * WENT_IN, expected * CAME_OUT)
        assert await error_of(asking, run.id) == ("budget_exceeded", used)


async def test_an_agent_whose_key_is_a_secret_that_is_not_there(
    asking: House, models: ModelServer
) -> None:
    await agent(asking, secret="MODEL_KEY")
    run = await asking.finish(flow(task("helper")))
    assert (await error_of(asking, run.id))[0].startswith("secret")
    assert models.asked == []


async def test_a_retry_waits_as_long_as_it_was_asked_to(asking: House, models: ModelServer) -> None:
    models.answers = [Fails(429, {"retry-after": "2"}), Fails(500), Says(ANSWER)]
    run = await asking.finish(flow(generate(retry={"max_attempts": 3, "delay": 0})))
    assert run.status is RunStatus.COMPLETED
    row = (await asking.steps(run.id))["ask"]
    assert (row.attempt, row.usage) == (3, Usage(1, WENT_IN, CAME_OUT))
    codes = [
        event.data["error"]["code"]
        for event in await asking.events(run.id)
        if event.type is EventType.STEP_FAILED
    ]
    assert codes == ["model_rate_limited", "model_unavailable"]
    assert models.asked[1].at - models.asked[0].at >= 2


async def test_what_is_not_retryable_is_not_retried(asking: House, models: ModelServer) -> None:
    models.answers = [Fails(401)]
    run = await asking.finish(flow(generate(retry={"max_attempts": 3, "delay": 0})))
    assert await error_of(asking, run.id) == ("model_refused", None)
    assert len(models.asked) == 1


@pytest.mark.parametrize("kind", ["ai_generate", "agent_task"])
async def test_a_cancel_ends_the_request(asking: House, models: ModelServer, kind: str) -> None:
    await agent(asking)
    models.answers = [Says("tick tock", pause=0.05, endless=True)]
    ask = generate() if kind == "ai_generate" else task("helper")
    run_id = await asking.start(flow(ask, step("transform", "after", "ask", output=1)))
    await models.until_asked()
    await asking.cancel(run_id)
    assert (await asking.until(run_id)).status is RunStatus.CANCELLED
    await models.until_left()
    rows = await asking.steps(run_id)
    assert rows["ask"].status is StepStatus.CANCELLED
    assert "after" not in rows
    assert len(models.asked) == 1


async def test_the_time_of_the_step_ends_the_request(asking: House, models: ModelServer) -> None:
    models.answers = [Says("tick tock", pause=0.05, endless=True)]
    run = await asking.finish(flow(generate(timeout=1)))
    assert (await error_of(asking, run.id))[0] == "timeout"
    await models.until_left()


async def test_with_no_model(server: WorkflowEnvironment, sqlite: Database) -> None:
    async with open_house(server.client, sqlite) as house:
        run = await house.finish(flow(generate(retry={"max_attempts": 3, "delay": 0})))
        row = (await house.steps(run.id))["ask"]
    assert row.attempt == 1
    assert row.error == {
        "code": "model_not_configured",
        "message": "No model is named, and SIGNALBOX_AI_MODEL is not set.",
    }


async def test_a_private_model_has_to_be_allowed(
    models: ModelServer, server: WorkflowEnvironment, sqlite: Database
) -> None:
    async with open_house(server.client, sqlite, egress="", variables=models.settings()) as house:
        run = await house.finish(flow(generate()))
        row = (await house.steps(run.id))["ask"]
    assert row.error is not None
    assert row.error["code"] == "egress_refused"
    assert "SIGNALBOX_EGRESS_ALLOW" in row.error["message"]
    assert models.asked == []


async def test_each_item_of_a_loop_asks_by_itself(asking: House, models: ModelServer) -> None:
    ask = step("ai_generate", "ask", prompt="About {{ item }}.")
    run = await asking.finish(flow(step("loop", "each", items=["a", "b"], steps=[ask])))
    assert (await asking.steps(run.id))["each"].output == [ANSWER, ANSWER]
    asked = [request.body["messages"][-1]["content"] for request in models.asked]
    assert asked == ["About a.", "About b."]


async def test_prompts_answers_and_keys_stay_where_they_belong(
    asking: House, models: ModelServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a run that succeeds, and of one that fails in words of the provider."""
    caplog.set_level(logging.DEBUG)
    told = {"error": {"message": f"{PROMPT} {OPENAI_KEY}", "type": OPENAI_KEY, "code": "x"}}
    histories = []
    for answer in (Says(ANSWER), Fails(400, body=json.dumps(told))):
        models.answers = [answer]
        run = await asking.finish(flow(generate()))
        handle = asking.client.get_workflow_handle(run.temporal_id)
        histories.append((await handle.fetch_history()).to_json())
    row = (await asking.steps(run.id))["ask"]
    assert row.error is not None
    assert PROMPT not in row.error["message"]
    for history in histories:
        for words in (PROMPT, ANSWER, OPENAI_KEY):
            assert words not in history
    for words in (PROMPT, ANSWER, OPENAI_KEY):
        assert words not in caplog.text
    assert "ai_generate" in histories[0]
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("signalbox.db*"))
    assert ANSWER.encode() in kept
    assert OPENAI_KEY.encode() not in kept


async def test_a_batch_writes_into_its_entities_and_counts_its_tokens(
    asking: House, models: ModelServer
) -> None:
    rejected = Fails(503, {"retry-after": "0"})
    models.answers = [rejected, calls("final_result", title="Written")]
    ask = generate(retry={"max_attempts": 5, "delay": 0.05}) | {"depends_on": []}
    ask["config"] |= {"fields": ["title"]}
    batch = await started(asking, [{"rank": n} for n in range(12)], ask, concurrency=4)
    assert (await batch.until()).status is RunStatus.COMPLETED
    assert [entity.fields["title"] for entity in await batch.entities()] == ["Written"] * 12
    row = await batch.row()
    assert row.usage == Usage(12, 12 * WENT_IN, 12 * CAME_OUT)
    assert sum(lane.attempts for lane in await batch.lanes()) == 13
