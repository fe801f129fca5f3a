"""`ai_generate` against a server that speaks as providers do."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import SecretStr

from activities.clients.models import ANTHROPIC_URL, OPENAI_URL, Access
from engine.errors import StepError
from engine.outcomes import Done
from engine.usage import Usage
from tests.model_server import (
    ANTHROPIC_KEY,
    OPENAI_KEY,
    TOKENS,
    Calls,
    Fails,
    ModelServer,
    Raw,
    Says,
    calls,
)
from tests.steps.stepping import Bench, bench

OPENAI, ANTHROPIC = "openai:test-model", "anthropic:test-model"
BOTH = pytest.mark.parametrize("model", [OPENAI, ANTHROPIC])
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"score": {"type": "integer", "maximum": 10}},
    "required": ["score"],
    "additionalProperties": False,
}
#: What the library calls the tool by which an object is answered.
FINAL = "final_result"


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with ModelServer() as server:
        yield server


def access(server: ModelServer, model: str = "") -> Access:
    return Access(
        model=model,
        openai_url=f"{server.url}/v1",
        openai_key=SecretStr(OPENAI_KEY),
        anthropic_url=server.url,
        anthropic_key=SecretStr(ANTHROPIC_KEY),
    )


@pytest.fixture
async def asking(server: ModelServer) -> AsyncIterator[Bench]:
    async with bench(access=access(server)) as bench_:
        yield bench_


async def ask(asking: Bench, model: str = OPENAI, **config: Any) -> Any:
    outcome = await asking.run("ai_generate", {"prompt": "Say hello.", "model": model} | config)
    assert isinstance(outcome, Done)
    return outcome.output


async def failure(asking: Bench, model: str = OPENAI, **config: Any) -> StepError:
    with pytest.raises(StepError) as caught:
        await ask(asking, model, **config)
    return caught.value


@BOTH
async def test_a_text(asking: Bench, server: ModelServer, model: str) -> None:
    usage = Usage()
    config = {
        "prompt": "Say hello.",
        "model": model,
        "instructions": "Be brief.",
        "temperature": 0.5,
        "max_output_tokens": 50,
    }
    outcome = await asking.run("ai_generate", config, usage=usage)
    assert outcome == Done(output="Hello there.")
    assert usage == Usage(1, *TOKENS)
    (asked,) = server.asked
    assert asked.body["stream"] is True
    assert asked.body["temperature"] == 0.5
    assert "Say hello." in str(asked.body["messages"])
    assert "Be brief." in str(asked.body)
    assert 50 in (asked.body.get("max_tokens"), asked.body.get("max_completion_tokens"))
    assert "tools" not in asked.body
    if model == OPENAI:
        assert asked.path == "/v1/chat/completions"
        assert asked.headers["authorization"] == f"Bearer {OPENAI_KEY}"
    else:
        assert asked.path == "/v1/messages"
        assert asked.headers["authorization"] == f"Bearer {ANTHROPIC_KEY}"


async def test_nothing_of_this_machine_is_told(asking: Bench, server: ModelServer) -> None:
    for model in (OPENAI, ANTHROPIC):
        await ask(asking, model)
    for asked in server.asked:
        assert not [name for name in asked.headers if name.startswith("x-stainless")]
        assert asked.headers["accept-encoding"] == "identity"


@BOTH
async def test_fields_are_an_object_of_texts(
    asking: Bench, server: ModelServer, model: str
) -> None:
    server.answers = [calls(FINAL, title="One", summary="Two")]
    answer = await ask(asking, model, fields=["title", "summary"])
    assert answer == {"title": "One", "summary": "Two"}
    (tool,) = server.asked[0].body["tools"]
    assert "summary" in str(tool)


@BOTH
async def test_what_does_not_fit_is_sent_back(
    asking: Bench, server: ModelServer, model: str
) -> None:
    server.answers = [calls(FINAL, score=99), Says("ten"), calls(FINAL, score=10)]
    assert await ask(asking, model, output_schema=SCHEMA) == {"score": 10}
    assert "greater than the maximum" in str(server.asked[1].body["messages"])


@pytest.mark.parametrize(
    "answer",
    [calls(FINAL, score=99), Says("just text"), Calls(((FINAL, "{no json"),)), Says("")],
)
async def test_what_never_fits_is_an_error(
    asking: Bench, server: ModelServer, answer: Says | Calls
) -> None:
    server.answers = [answer]
    error = await failure(asking, output_schema=SCHEMA)
    assert (error.stable_code, error.retryable) == ("output_invalid", True)
    assert "99" not in error.message
    assert len(server.asked) == 3


async def test_an_object_that_is_cut_off(asking: Bench, server: ModelServer) -> None:
    server.answers = [Says('{"score":', stop="length")]
    error = await failure(asking, output_schema=SCHEMA)
    assert error.stable_code == "output_invalid"
    assert "max_output_tokens" in error.message


@BOTH
@pytest.mark.parametrize(
    ("status", "code", "retryable"),
    [
        (400, "model_bad_request", False),
        (401, "model_refused", False),
        (402, "model_quota_exceeded", False),
        (403, "model_refused", False),
        (404, "model_not_found", False),
        (413, "model_bad_request", False),
        (422, "model_bad_request", False),
        (429, "model_rate_limited", True),
        (500, "model_unavailable", True),
        (503, "model_unavailable", True),
        (529, "model_unavailable", True),
    ],
)
async def test_what_a_status_means(
    asking: Bench, server: ModelServer, model: str, status: int, code: str, retryable: bool
) -> None:
    told = {"error": {"message": f"Say hello. {OPENAI_KEY}", "type": "a_type", "code": None}}
    server.answers = [Fails(status, {"retry-after": "7"}, json.dumps(told))]
    error = await failure(asking, model)
    assert (error.stable_code, error.retryable) == (code, retryable)
    assert error.retry_after == (7.0 if retryable else None)
    assert str(status) in error.message
    assert OPENAI_KEY not in error.message
    assert "Say hello." not in error.message
    assert len(server.asked) == 1, "the SDK must not retry by itself"


async def test_a_quota_that_is_used_up_is_not_tried_again(
    asking: Bench, server: ModelServer
) -> None:
    told = (
        '{"error": {"message": "no", "type": "insufficient_quota", "code": "insufficient_quota"}}'
    )
    server.answers = [Fails(429, {}, told)]
    error = await failure(asking)
    assert (error.stable_code, error.retryable) == ("model_quota_exceeded", False)
    assert "insufficient_quota" in error.message


@pytest.mark.parametrize(
    ("content", "codes"),
    [
        (b"data: {not json\n\n", {"model_bad_answer"}),
        (b"no events at all\n\n", {"output_invalid"}),
        (b'data: {"error": {"message": "secret words", "code": "x"}}\n\n', {"model_bad_answer"}),
    ],
)
async def test_what_is_no_answer(
    asking: Bench, server: ModelServer, content: bytes, codes: set[str]
) -> None:
    server.answers = [Raw(content)]
    error = await failure(asking)
    assert error.stable_code in codes
    assert "secret words" not in error.message


async def test_a_redirect_is_not_followed(asking: Bench, server: ModelServer) -> None:
    server.answers = [Fails(307, {"location": f"{server.url}/elsewhere"})]
    error = await failure(asking)
    assert error.stable_code == "model_bad_answer"
    assert len(server.asked) == 1


async def test_an_answer_that_was_withheld(asking: Bench, server: ModelServer) -> None:
    server.answers = [Says("Half of", stop="content_filter")]
    error = await failure(asking)
    assert (error.stable_code, error.retryable) == ("content_filtered", False)


@BOTH
async def test_a_budget_of_tokens(asking: Bench, server: ModelServer, model: str) -> None:
    usage = Usage()
    with pytest.raises(StepError) as caught:
        await asking.run(
            "ai_generate",
            {"prompt": "Hi", "model": model, "budget": {"max_total_tokens": 5}},
            usage=usage,
        )
    assert (caught.value.stable_code, caught.value.retryable) == ("budget_exceeded", False)
    assert "5 tokens" in caught.value.message
    assert usage.requests == 1
    assert usage.input_tokens == TOKENS[0]


async def test_a_server_that_counts_nothing(asking: Bench, server: ModelServer) -> None:
    server.answers = [Says("Hello.", counts=False)]
    usage = Usage()
    config = {"prompt": "Hi", "model": OPENAI, "budget": {"max_total_tokens": 5}}
    assert await asking.run("ai_generate", config, usage=usage) == Done(output="Hello.")
    assert usage == Usage(1, 0, 0)


async def test_a_budget_of_requests(asking: Bench, server: ModelServer) -> None:
    server.answers = [Says("no object")]
    error = await failure(asking, output_schema=SCHEMA, budget={"max_requests": 2})
    assert error.stable_code == "budget_exceeded"
    assert "2 requests" in error.message
    assert len(server.asked) == 2


async def test_a_budget_of_seconds_ends_the_request(asking: Bench, server: ModelServer) -> None:
    server.answers = [Says("tick tock", pause=0.05, endless=True)]
    error = await failure(asking, budget={"max_seconds": 0.5})
    assert (error.stable_code, error.retryable) == ("timeout", True)
    await server.until_left()


async def test_a_cancel_ends_the_request(asking: Bench, server: ModelServer) -> None:
    server.answers = [Says("tick tock", pause=0.05, endless=True)]
    task = asyncio.create_task(ask(asking))
    await server.until_asked()
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    await server.until_left()


async def test_a_private_server_has_to_be_allowed(server: ModelServer) -> None:
    async with bench("", access(server)) as closed:
        for model in (OPENAI, ANTHROPIC):
            error = await failure(closed, model)
            assert (error.stable_code, error.retryable) == ("egress_refused", False)
            assert "SIGNALBOX_EGRESS_ALLOW" in error.message
    assert server.asked == []


async def test_nobody_listens(server: ModelServer) -> None:
    nobody = Access(openai_url="http://127.0.0.1:9/v1")
    async with bench(access=nobody) as asking:
        error = await failure(asking)
    assert (error.stable_code, error.retryable) == ("connect_failed", True)


async def test_a_server_of_ones_own_needs_no_key(server: ModelServer) -> None:
    async with bench(access=Access(openai_url=f"{server.url}/v1")) as asking:
        assert await ask(asking) == "Hello there."


@pytest.mark.parametrize(
    ("model", "named"),
    [
        (None, "SIGNALBOX_AI_MODEL"),
        (OPENAI, "SIGNALBOX_AI_OPENAI_API_KEY"),
        (ANTHROPIC, "SIGNALBOX_AI_ANTHROPIC_API_KEY"),
    ],
)
async def test_with_nothing_configured(model: str | None, named: str) -> None:
    async with bench(access=Access(openai_url=OPENAI_URL, anthropic_url=ANTHROPIC_URL)) as asking:
        with pytest.raises(StepError) as caught:
            await asking.run("ai_generate", {"prompt": "Hi", "model": model})
    assert (caught.value.stable_code, caught.value.retryable) == ("model_not_configured", False)
    assert named in caught.value.message


async def test_the_deployment_s_model_is_the_default(server: ModelServer) -> None:
    async with bench(access=access(server, ANTHROPIC)) as asking:
        assert await asking.run("ai_generate", {"prompt": "Hi"}) == Done(output="Hello there.")
    assert server.asked[0].path == "/v1/messages"


@pytest.mark.parametrize(
    "config",
    [
        {"prompt": ""},
        {"prompt": "x", "model": "gpt"},
        {"prompt": "x", "model": "azure:gpt"},
        {"prompt": "x", "fields": ["a"], "output_schema": SCHEMA},
        {"prompt": "x", "fields": ["not a name"]},
        {"prompt": "x", "output_schema": {"type": "array"}},
        {"prompt": "x", "output_schema": {"type": "object", "$ref": "http://elsewhere/"}},
        {"prompt": "x", "output_schema": {"type": "object", "properties": {"a": {"type": "no"}}}},
        {"prompt": "x", "budget": {"max_requests": 0}},
        {"prompt": "x", "surprise": 1},
    ],
)
async def test_what_is_not_accepted(asking: Bench, config: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        await asking.run("ai_generate", config)
