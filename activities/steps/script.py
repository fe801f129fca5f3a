"""`script`: run a shell or Python script in the sandbox.

Source: seed 004, contracts §3.4 and C-q14, DESIGN §5.
"""

from typing import Literal

from pydantic import Field, JsonValue

from activities.base import ScalarText, StepConfig, StepContext, StepType
from engine.errors import StepError
from engine.outcomes import Done


class Config(StepConfig):
    """Runs a shell or Python script in the [sandbox](scripts.md)."""

    language: Literal["shell", "python"]
    source: str = Field(min_length=1, max_length=256 * 1024, description="The text of the script.")
    args: list[ScalarText] = Field(default=[], description="`$1` or `sys.argv[1]`, and so on.")
    env: dict[str, ScalarText] = Field(
        default={}, description="Added to `PATH`, `HOME`, `TMPDIR`, `LANG`."
    )


async def run(config: Config, context: StepContext) -> Done:
    """Run the script; answer `{"exit_code", "stdout", "stderr"}`. Another code than 0 fails.

    Output beyond 1 MiB is cut, and `truncated` is there then.
    """
    result = await context.clients.shell.run(
        config.language,
        config.source,
        args=config.args,
        env={"SIGNALBOX_IDEMPOTENCY_KEY": context.key, **config.env},
        # The wrapper's own time-out comes first; this one is for what does not heed it.
        timeout=context.timeout + 5,
    )
    # What is cut off here or was cut off in the sandbox must not leave a part of a secret.
    cut = context.secrets.cut if result.truncated else context.secrets.text
    stdout, stderr = cut(result.stdout), cut(result.stderr)
    if result.exit_code != 0:
        raise StepError(
            "script_failed",
            f"The script ended with {result.exit_code}: {stderr[-2_000:].strip()}",
        )
    output: dict[str, JsonValue] = {
        "exit_code": result.exit_code,
        "stdout": stdout,
        "stderr": stderr,
    }
    return Done(output=output | {"truncated": True} if result.truncated else output)


STEP = StepType(
    config=Config,
    run=run,
    output='`{"exit_code": 0, "stdout": "…", "stderr": "…"}`, and `"truncated": true` when '
    "something was cut.",
    errors="`script_failed`, and those of the sandbox.",
    lane="long",
    secrets=True,
)
