"""`ai_generate` with the fields of a record: what the model is told, and what is written."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import JsonValue, SecretStr

from activities.clients.models import Access
from activities.registry import catalog
from engine.errors import StepError
from engine.outcomes import Done, EntityChange
from engine.validation import check
from tests.model_server import OPENAI_KEY, ModelServer, calls
from tests.steps.stepping import Bench, bench

FINAL = "final_result"
FIELDS: dict[str, JsonValue] = {"name": "Acme-Werke", "title": "Old", "summary": "", "tags": []}
SCOPE: dict[str, JsonValue] = {
    "input": {"name": "of the input"},
    "entity": {"id": "ef", "type": "Page", "fields": FIELDS},
}


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with ModelServer() as server:
        yield server


@pytest.fixture
async def asking(server: ModelServer) -> AsyncIterator[Bench]:
    access = Access(
        model="openai:test-model",
        openai_url=f"{server.url}/v1",
        openai_key=SecretStr(OPENAI_KEY),
    )
    async with bench(access=access) as opened:
        yield opened


def told(server: ModelServer) -> str:
    (asked,) = server.asked
    return str(asked.body["messages"])


@pytest.mark.parametrize("prompt", [None, "In German, please."])
async def test_the_model_is_told_the_record_and_writes_into_it(
    asking: Bench, server: ModelServer, prompt: str | None
) -> None:
    server.answers = [calls(FINAL, title="One", summary="Two")]
    config: dict[str, Any] = {"fields": ["title", "summary"]}
    config |= {} if prompt is None else {"prompt": prompt}
    answer = await asking.run("ai_generate", config, scope=SCOPE)
    made: dict[str, JsonValue] = {"title": "One", "summary": "Two"}
    assert answer == Done(output=made, entity=EntityChange(fields=made))
    for words in ("Acme-Werke", "Page", prompt or "title, summary"):
        assert words in told(server)
    assert "of the input" not in told(server)


async def test_what_is_there_is_left_alone(asking: Bench, server: ModelServer) -> None:
    server.answers = [calls(FINAL, summary="Two", tags="three")]
    config = {"fields": ["title", "summary", "tags", "name"], "overwrite": False}
    answer = await asking.run("ai_generate", config, scope=SCOPE)
    made: dict[str, JsonValue] = {"summary": "Two", "tags": "three"}
    assert answer == Done(output=made, entity=EntityChange(fields=made))
    (tool,) = server.asked[0].body["tools"]
    assert "title" not in tool["function"]["parameters"]["properties"]


async def test_where_nothing_is_empty_nobody_is_asked(asking: Bench, server: ModelServer) -> None:
    config = {"fields": ["title", "name"], "overwrite": False}
    assert await asking.run("ai_generate", config, scope=SCOPE) == Done(output={})
    assert server.asked == []


async def test_without_a_record_it_is_told_the_input_unless_there_is_a_prompt(
    asking: Bench, server: ModelServer
) -> None:
    scope: dict[str, JsonValue] = {"input": {"name": "of the input"}, "entity": None}
    server.answers = [calls(FINAL, title="One")]
    await asking.run("ai_generate", {"fields": ["title"]}, scope=scope)
    await asking.run("ai_generate", {"fields": ["title"], "prompt": "Say it."}, scope=scope)
    first, second = (str(asked.body["messages"]) for asked in server.asked)
    assert "of the input" in first
    assert "of the input" not in second
    with pytest.raises(StepError) as caught:
        await asking.run("ai_generate", {"fields": ["title"]}, scope={"input": [1]})
    assert (caught.value.stable_code, caught.value.retryable) == ("not_an_object", False)


async def test_what_has_no_fields_changes_no_record(asking: Bench, server: ModelServer) -> None:
    answer = await asking.run("ai_generate", {"prompt": "Say hello."}, scope=SCOPE)
    assert answer == Done(output="Hello there.")
    assert "Acme-Werke" not in told(server)


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ({}, "needs a 'prompt', or 'fields'"),
        ({"output_schema": {"type": "object"}}, "needs a 'prompt', or 'fields'"),
        ({"fields": []}, "fields"),
        ({"prompt": "a", "fields": ["a"], "output_schema": {"type": "object"}}, "exclude"),
    ],
)
def test_what_is_no_question(config: dict[str, Any], complaint: str) -> None:
    raw = {"name": "w", "steps": [{"id": "a", "type": "ai_generate", "config": config}]}
    (problem,) = check(raw, catalog()).problems
    assert complaint in problem.message
