"""`condition`: go one way or the other, or no further.

Source: contracts §2.3 and §3.4. Steps named in the branch that is not taken are skipped.
"""

from typing import Literal, Self

from pydantic import Field, JsonValue, model_validator

from activities.base import StepConfig, StepContext, StepType
from engine.catalog import Naming
from engine.errors import StepError
from engine.gates import FieldTest, check_test
from engine.outcomes import Branch, Done, Skip


class Config(FieldTest, StepConfig):
    """Goes one way or the other, or no further.

    What is asked is an `expression`, or a test of the fields of the record that the run or the
    batch's lane is about, or else of `input`: `field` with `operator` and `value`, or a group of
    such tests, `all` or `any`. Groups may hold groups, ten deep, and 200 tests in all.

    The operators are `eq`, `neq`, `gt`, `gte`, `lt`, `lte` (numbers, or texts such as dates),
    `contains` (a part of a text, an element of a list), `in` (a list of values; of a list any
    element), `empty` and `notEmpty`. A field that is not there is null, and what cannot be compared
    does not hold.

    With `then` and `else` one of the two ways is taken. With `onFalse`, which a test without them
    has anyway, nothing that depends on the step is carried out unless it holds: `stop` ends that
    way successfully, `fail` fails the step.
    """

    expression: str | None = Field(default=None, description="An expression that is true or false.")
    then: list[str] = Field(default=[], description="Steps that run only when it is true.")
    else_: list[str] = Field(
        default=[], alias="else", description="Steps that run only when it is false."
    )
    on_false: Literal["stop", "fail"] | None = Field(
        default=None,
        alias="onFalse",
        description="What becomes of the rest when it is false; `stop` for a test of fields.",
    )

    @model_validator(mode="after")
    def _is_one_test(self) -> Self:
        if self.written() + (self.expression is not None) != 1:
            raise ValueError("needs one of 'expression', 'field' with 'operator', 'all' and 'any'")
        check_test(self)
        if self.on_false is not None and (self.then or self.else_):
            raise ValueError("'onFalse' and 'then' or 'else' exclude each other")
        return self

    @property
    def stops(self) -> bool:
        """Whether what is false ends the way, instead of choosing one."""
        ways = self.then or self.else_
        return self.on_false is not None or (self.expression is None and not ways)


async def run(config: Config, context: StepContext) -> Done | Skip | Branch:
    """Find out whether it holds; exclude the other branch, or all that follows."""
    result = _result(config, context)
    output: JsonValue = {"result": result}
    if not config.stops:
        return Branch(untaken=config.else_ if result else config.then, output=output)
    if result:
        return Done(output=output)
    if config.on_false == "fail":
        raise StepError(
            "condition_failed",
            f"The condition of step '{context.step}' does not hold.",
            retryable=False,
        )
    return Skip(reason="The condition does not hold.")


def _result(config: Config, context: StepContext) -> bool:
    if config.expression is None:
        if not isinstance(context.record, dict):
            raise StepError(
                "not_an_object",
                f"What step '{context.step}' looks at is no object that has fields.",
                retryable=False,
            )
        return config.holds(context.record)
    result = context.evaluate(config.expression)
    if not isinstance(result, bool):
        raise StepError(
            "not_a_boolean",
            f"The expression of condition '{context.step}' is neither true nor false; "
            "compare it with something.",
            retryable=False,
        )
    return result


STEP = StepType(
    config=Config,
    run=run,
    output='`{"result": true}`. The steps that the other branch names are `skipped`, and so is '
    "what depends on nothing but them. With `stop` the step itself is `skipped` when it is false.",
    errors="`not_a_boolean`, `not_an_object`, `condition_failed` (none is retried).",
    lane="decides",
    expressions=("expression",),
    targets=("then", "else"),
    reads_input=True,
    naming=Naming(frozenset({"field"})),
)
