"""`transform`: make a value of others.

Source: DESIGN §8.
"""

from pydantic import Field, JsonValue

from activities.base import StepConfig, StepContext, StepType
from engine.outcomes import Done


class Config(StepConfig):
    """Makes a value of others."""

    output: JsonValue = Field(description="Any template; what it renders to is the output.")


async def run(config: Config, context: StepContext) -> Done:
    """Answer the rendered template."""
    return Done(output=config.output)


STEP = StepType(config=Config, run=run, output="the value.", lane="decides")
