"""`condition`: go one way or the other.

Source: contracts §3.4. Steps named in the branch that is not taken are skipped.
"""

from pydantic import Field

from activities.base import StepConfig, StepContext, StepType
from engine.errors import StepError
from engine.outcomes import Branch


class Config(StepConfig):
    """Goes one way or the other."""

    expression: str = Field(description="An expression that is true or false.")
    then: list[str] = Field(default=[], description="Steps that run only when it is true.")
    else_: list[str] = Field(
        default=[], alias="else", description="Steps that run only when it is false."
    )


async def run(config: Config, context: StepContext) -> Branch:
    """Evaluate the expression and exclude the other branch."""
    result = context.evaluate(config.expression)
    if not isinstance(result, bool):
        raise StepError(
            "not_a_boolean",
            f"The expression of condition '{context.step}' is neither true nor false; "
            "compare it with something.",
            retryable=False,
        )
    return Branch(untaken=config.else_ if result else config.then, output={"result": result})


STEP = StepType(
    config=Config,
    run=run,
    output='`{"result": true}`. The steps that the other branch names are `skipped`, and so is '
    "what depends on nothing but them.",
    errors="`not_a_boolean`.",
    lane="decides",
    expressions=("expression",),
    targets=("then", "else"),
)
