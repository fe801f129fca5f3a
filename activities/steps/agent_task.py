"""`agent_task`: give a goal to an agent of the organisation.

Source: seed 004, contracts §3.4 and C-q16. What the agent is, and whether it may do more than
answer, is the organisation's to say; the step can only narrow it.
"""

import json

from pydantic import Field, JsonValue, SecretStr

from activities.base import StepConfig, StepContext, StepType
from activities.clients.questions import Bounds, Question
from engine.agent import Budget, OutputSchema
from engine.outcomes import Done

#: Characters of the context that the agent gets.
LONGEST_CONTEXT = 200_000


class Config(StepConfig):
    """Gives a goal to an [agent](api-agents.md) of the organisation, which asks its model.

    See [Agents](../how-to/agents.md). Without `context` the agent is given the outputs of the steps
    that this one depends on, or that its texts name. A context of more than 200,000 characters is
    cut.
    """

    agent_id: str = Field(min_length=1, max_length=200, description="The agent's id or name.")
    goal: str = Field(min_length=1, description="What it is to achieve.")
    context: JsonValue = Field(
        default=None,
        description="What it has to know; otherwise the outputs of the steps depended on.",
    )
    output_schema: OutputSchema | None = Field(
        default=None, description="JSON Schema of the output, an object; before the agent's own."
    )
    budget: Budget | None = Field(default=None, description="Narrows the agent's, bound by bound.")


async def run(config: Config, context: StepContext) -> Done:
    """Ask the agent; answer its text, or its object."""
    spec = await context.clients.agents.find(context.org, config.agent_id)
    question = Question(
        prompt=_prompt(config, context),
        model=spec.model,
        instructions=spec.instructions,
        schema=config.output_schema or spec.output_schema,
        options=spec.settings,
        budget=spec.budget.narrowed(config.budget),
        tools=spec.tools,
        hosts=spec.hosts,
        api_key=await _key(context, spec.secret),
    )
    bounds = Bounds(context.key, context.timeout, context.usage)
    return Done(output=await context.clients.models.ask(question, bounds))


async def _key(context: StepContext, secret: str | None) -> SecretStr | None:
    """The key that the agent's model is asked with; None for the deployment's own.

    Raises:
        StepError: there is no such secret, or secrets cannot be read; not retryable.
    """
    if secret is None:
        return None
    return SecretStr((await context.secrets.resolve(secret))[secret])


def _prompt(config: Config, context: StepContext) -> str:
    known = config.context
    if known is None:
        known = _outputs(context.scope.get("steps"))
    if not known:
        return config.goal
    text = known if isinstance(known, str) else json.dumps(known, ensure_ascii=False)
    if len(text) > LONGEST_CONTEXT:
        text = f"{text[:LONGEST_CONTEXT]}… (cut: {len(text):,} characters in all)"
    return f"{config.goal}\n\nContext:\n{text}"


def _outputs(steps: JsonValue) -> dict[str, JsonValue]:
    """What the steps before have put out, by their ids."""
    if not isinstance(steps, dict):
        return {}
    return {
        step_id: step["output"]
        for step_id, step in steps.items()
        if isinstance(step, dict) and step["output"] is not None
    }


STEP = StepType(
    config=Config,
    run=run,
    output="the answer as text, or an object where the step or the agent has an `output_schema`. "
    "What was asked of the model is in `usage` of the step's run: "
    '`{"requests": 1, "input_tokens": 11, "output_tokens": 7}`, over all attempts.',
    errors="`agent_not_found`, `secret_not_found` (neither is retried), and those of "
    "[`ai_generate`](#ai_generate).",
    lane="long",
    upstream=True,
)
