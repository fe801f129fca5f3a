"""Asks a model until it has answered, by pydantic-ai. Imported late: see `models._conversation`.

The answer is streamed, so that a cancelled step ends the request at once. The SDKs' own retries are
off: the interpreter retries, and it knows when a provider asked to be left alone.
"""

import asyncio
import copy
import logging
import re
import warnings
from collections.abc import AsyncIterable, Callable
from typing import Any

import httpx2
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI
from pydantic import JsonValue
from pydantic_ai import Agent, ModelRetry, ModelSettings, RunContext, StructuredDict
from pydantic_ai import exceptions as failures
from pydantic_ai.messages import AgentStreamEvent
from pydantic_ai.models import Model
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider
from pydantic_ai.usage import RunUsage, UsageLimits

from activities.clients.http import HttpDoor
from activities.clients.model_http import DoorTransport
from activities.clients.model_tools import Toolbox
from activities.clients.questions import Bounds, Endpoint, Question
from engine.agent import REQUESTS
from engine.errors import StepError
from engine.output_schema import violations
from engine.usage import Usage

#: How often an answer that does not fit, or a wrong call of a tool, is sent back; in the budget.
_CORRECTIONS = 2
#: Calls of tools in one attempt; a model may ask for any number of them in one answer.
_MOST_CALLS = 100
#: What is repeated of a provider's own code for an error.
_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")

# Prompts and answers would be in what these say at DEBUG, and addresses at INFO.
for _name in ("openai", "anthropic", "httpx2", "pydantic_ai"):
    logging.getLogger(_name).setLevel(logging.WARNING)
# A server that counts no tokens cannot be held to a budget of them; the page of agents says so.
warnings.filterwarnings("ignore", category=failures.UsageLimitUnavailableWarning)


class Talk:
    """One conversation with one model."""

    @classmethod
    async def hold(
        cls, door: HttpDoor, endpoint: Endpoint, question: Question, bounds: Bounds
    ) -> JsonValue:
        """Ask, and answer what the model answers.

        Raises:
            StepError: there is no answer.
        """
        return await cls(door, endpoint, question, bounds)._hold()

    def __init__(
        self, door: HttpDoor, endpoint: Endpoint, question: Question, bounds: Bounds
    ) -> None:
        self._door = door
        self._endpoint = endpoint
        self._question = question
        self._bounds = bounds
        self._seconds = min(bounds.timeout, question.budget.max_seconds or bounds.timeout)
        self._until = asyncio.get_running_loop().time() + self._seconds
        self._transport = DoorTransport(door, self._remaining)
        self._spent = RunUsage()

    def _remaining(self) -> float:
        return max(self._until - asyncio.get_running_loop().time(), 0.001)

    async def _hold(self) -> JsonValue:
        try:
            async with (
                asyncio.timeout_at(self._until),
                httpx2.AsyncClient(
                    transport=self._transport, trust_env=False, timeout=None
                ) as client,
            ):
                return await self._ask(client)
        except StepError:
            raise
        except TimeoutError:
            raise StepError(
                "timeout", f"The model had not answered after {self._seconds:g} s."
            ) from None
        except Exception as error:
            # Not chained: what it says may quote the prompt or the answer.
            raise self._judged(error) from None
        finally:
            spent = self._spent
            self._bounds.usage.add(Usage(spent.requests, spent.input_tokens, spent.output_tokens))

    async def _ask(self, client: httpx2.AsyncClient) -> JsonValue:
        question, budget = self._question, self._question.budget
        toolbox = Toolbox(self._door, question.hosts, self._bounds.key, self._remaining)
        agent: Agent[object, Any] = Agent(
            _model(self._endpoint, client),
            output_type=str if question.schema is None else _output(question.schema),
            instructions=question.instructions or None,
            tools=toolbox.tools(question.tools),
            retries=_CORRECTIONS,
            model_settings=_settings(question),
        )
        if question.schema is not None:
            agent.output_validator(_fits(question.schema))
        result = await agent.run(
            question.prompt,
            usage=self._spent,
            usage_limits=UsageLimits(
                request_limit=budget.max_requests or REQUESTS,
                total_tokens_limit=budget.max_total_tokens,
                tool_calls_limit=_MOST_CALLS,
            ),
            event_stream_handler=_stream,
            infer_name=False,
        )
        if result.response.finish_reason == "content_filter":
            raise _filtered()
        output: JsonValue = result.output
        return output

    # --- what went wrong ------------------------------------------------------------------

    def _judged(self, error: Exception) -> StepError:
        """The failure of the step; it quotes nothing that was asked or answered."""
        failed = self._transport.failed
        match error:
            case failures.UsageLimitExceeded():
                return StepError("budget_exceeded", self._exceeded(), retryable=False)
            case failures.ContentFilterError():
                return _filtered()
            case failures.OutputTokenLimitExceeded():
                return StepError(
                    "output_invalid",
                    "The model's answer was cut off before it was complete: see max_output_tokens.",
                )
            case failures.UnexpectedModelBehavior():
                wanted = "text" if self._question.schema is None else "what its schema asks for"
                return StepError("output_invalid", f"The model did not answer {wanted}.")
            case failures.ModelAPIError() if failed is not None:
                return StepError(failed.code, str(failed), retryable=failed.retryable)
            case failures.ModelHTTPError():
                return self._refused(error)
            case failures.ModelAPIError():
                return StepError("model_bad_answer", "The model's answer cannot be understood.")
        return StepError("internal_error", f"{type(error).__name__} while a model was asked.")

    def _exceeded(self) -> str:
        spent, budget = self._spent, self._question.budget
        requests = budget.max_requests or REQUESTS
        if budget.max_total_tokens is not None and spent.total_tokens > budget.max_total_tokens:
            return (
                f"The budget of {budget.max_total_tokens:,} tokens was exceeded: "
                f"{spent.total_tokens:,} were used."
            )
        if spent.requests >= requests:
            return f"The budget of {requests} requests was used up before there was an answer."
        return f"The model asked for more than {_MOST_CALLS} calls of tools."

    def _refused(self, error: failures.ModelHTTPError) -> StepError:
        """What a provider's status means."""
        code, retryable, what = _kind(error)
        told = [
            word
            for word in (error.provider_error_code, error.provider_error_type)
            if word is not None and _CODE.fullmatch(word)
        ]
        named = f" ({told[0]})" if told else ""
        return StepError(
            code,
            f"{what}: '{self._endpoint.provider}' answered {error.status_code}{named}.",
            retryable=retryable,
            retry_after=error.retry_after if retryable else None,
        )


def _kind(error: failures.ModelHTTPError) -> tuple[str, bool, str]:
    """Code, whether another attempt may help, and the beginning of a sentence."""
    match error:
        case failures.ModelRateLimitError():
            return "model_rate_limited", True, "The model's provider limits the rate"
        case failures.ModelQuotaExceededError():
            return "model_quota_exceeded", False, "The account's quota is used up"
        case failures.ModelAuthenticationError():
            return "model_refused", False, "The model's provider does not accept the key"
        case failures.ModelNotFoundError():
            return "model_not_found", False, "The model's provider does not know the model"
    if error.status_code >= 500 or error.status_code in (408, 409, 425, 429):
        return "model_unavailable", True, "The model is not available"
    return "model_bad_request", False, "The model's provider does not accept the request"


def _filtered() -> StepError:
    return StepError(
        "content_filtered", "The model's provider withheld the answer.", retryable=False
    )


# --- what is asked --------------------------------------------------------------------------


def _model(endpoint: Endpoint, client: httpx2.AsyncClient) -> Model:
    # A server that takes no key still gets one, because the SDK insists.
    key = endpoint.key.get_secret_value() or "none"
    if endpoint.provider == "anthropic":
        anthropic = AsyncAnthropic(
            base_url=endpoint.url, api_key=key, http_client=client, max_retries=0
        )
        return AnthropicModel(
            endpoint.model, provider=AnthropicProvider(anthropic_client=anthropic)
        )
    openai = AsyncOpenAI(base_url=endpoint.url, api_key=key, http_client=client, max_retries=0)
    provider = (
        OpenAIProvider(openai_client=openai)
        if endpoint.theirs
        else OpenAICompatibleProvider("openai-compatible", openai_client=openai)
    )
    return OpenAIChatModel(endpoint.model, provider=provider)


def _output(schema: dict[str, JsonValue]) -> type[Any]:
    return StructuredDict(copy.deepcopy(schema))


def _fits(schema: dict[str, JsonValue]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def fits(answer: dict[str, Any]) -> dict[str, Any]:
        if found := violations(schema, answer):
            raise ModelRetry("The answer does not fit the schema.\n" + "\n".join(found))
        return answer

    return fits


def _settings(question: Question) -> ModelSettings:
    settings = ModelSettings()
    if question.options.temperature is not None:
        settings["temperature"] = question.options.temperature
    if question.options.max_output_tokens is not None:
        settings["max_tokens"] = question.options.max_output_tokens
    return settings


async def _stream(context: RunContext[Any], events: AsyncIterable[AgentStreamEvent]) -> None:
    """Read the answer as it comes; that there is a reader is what makes it a stream."""
    async for _ in events:
        pass
