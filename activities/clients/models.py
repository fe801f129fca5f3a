"""The one door to language models: whatever asks one, asks here.

    models.py         which provider, which key, and the errors of both
    questions.py      what is asked of whom, and what holds for the asking
    conversation.py   the asking: tools, structured answers, budgets; by pydantic-ai
    model_tools.py    what a model may do besides answering
    model_http.py     how the providers' SDKs get through the outgoing HTTP door

Nothing that was asked or answered is logged, or put into an error: errors end up in Temporal.
"""

import asyncio
import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import JsonValue, SecretStr

from activities.clients.http import HttpDoor
from activities.clients.questions import Bounds, Endpoint, Question
from engine.errors import StepError

if TYPE_CHECKING:
    from activities.clients import conversation

OPENAI_URL = "https://api.openai.com/v1"
ANTHROPIC_URL = "https://api.anthropic.com"

_NO_KEY = SecretStr("")


@dataclass(frozen=True)
class Access:
    """What the deployment says: its own model, and how the providers are reached.

    Attributes:
        model: asked where nobody names one, as in `openai:NAME`; empty for none.
    """

    model: str = ""
    openai_url: str = OPENAI_URL
    openai_key: SecretStr = _NO_KEY
    anthropic_url: str = ANTHROPIC_URL
    anthropic_key: SecretStr = _NO_KEY


class Models:
    """Asks models; one for a worker process."""

    def __init__(self, http: HttpDoor, access: Access) -> None:
        self._http = http
        self._access = access

    async def ask(self, question: Question, bounds: Bounds) -> JsonValue:
        """The model's answer: text, or an object that fits the question's schema.

        Raises:
            StepError: there is none; the codes are in `docs/reference/step-types.md`.
        """
        endpoint = self._endpoint(question)
        talk = await _conversation()
        return await talk.hold(self._http, endpoint, question, bounds)

    def _endpoint(self, question: Question) -> Endpoint:
        name = question.model or self._access.model
        if not name:
            raise _unconfigured("No model is named, and SIGNALBOX_AI_MODEL is not set.")
        provider, _, model = name.partition(":")
        access = self._access
        if provider == "anthropic":
            url, own, theirs = access.anthropic_url, access.anthropic_key, ANTHROPIC_URL
        else:
            url, own, theirs = access.openai_url, access.openai_key, OPENAI_URL
        key = question.api_key or own
        if not key.get_secret_value() and url == theirs:
            raise _unconfigured(
                f"There is no key for '{provider}': SIGNALBOX_AI_{provider.upper()}_API_KEY "
                "is not set."
            )
        return Endpoint(provider, model, url, key, url == theirs)


def _unconfigured(message: str) -> StepError:
    return StepError("model_not_configured", message, retryable=False)


async def _conversation() -> "type[conversation.Talk]":
    """The libraries, which take seconds to import: when they are first needed, beside the loop."""
    module = await asyncio.to_thread(importlib.import_module, "activities.clients.conversation")
    talk: type[conversation.Talk] = module.Talk
    return talk
