"""`find_records`: which records of a type are there that are like this? Source: DESIGN §8."""

from typing import Any

from pydantic import Field, JsonValue, field_validator

from activities.base import StepConfig, StepContext, StepType
from engine.conditions import matches, tree_problems
from engine.errors import Problem, StepError
from engine.expressions import ExpressionError
from engine.expressions.budget import Meter
from engine.expressions.evaluate import run as evaluate
from engine.expressions.template import unwrapped
from engine.outcomes import Done

#: Steps of work that an expression may take for one record.
_STEPS = 50_000


class Config(StepConfig):
    """Finds records of a type, oldest first.

    `where` is an expression in which `entity` is the record (`entity.id`, `entity.fields`), beside
    everything that a step can use; or a tree of rules on its fields, as triggers have them. Where
    an expression cannot be evaluated, because the record lacks a field, it is not true. Deleted
    records are not found.
    """

    entity_type: str = Field(
        min_length=1, max_length=200, description="The name or the id of a type."
    )
    where: str | dict[str, Any] | None = Field(
        default=None, description="An expression or a tree of rules; all records when left out."
    )
    limit: int = Field(default=1_000, ge=0, le=10_000, description="Records that are answered.")

    @field_validator("where")
    @classmethod
    def _is_a_tree(cls, where: str | dict[str, Any] | None) -> str | dict[str, Any] | None:
        if isinstance(where, dict):
            wrong = [one for one in tree_problems(where, "where") if not _is_open(where, one)]
            if wrong:
                raise ValueError("; ".join(problem.message for problem in wrong[:5]))
        return where


def _is_open(tree: JsonValue, problem: Problem) -> bool:
    """Whether what is wrong is a placeholder, whose value is only known in the run."""
    here = tree
    for key in problem.path.split(".")[1:]:
        if isinstance(here, dict):
            here = here.get(key)
        elif isinstance(here, list) and key.isdecimal() and int(key) < len(here):
            here = here[int(key)]
    return isinstance(here, str) and "{{" in here


async def run(config: Config, context: StepContext) -> Done:
    """Look at every record of the type; the output has the first ones and how many there are."""
    where = config.where
    if isinstance(where, dict) and (problems := tree_problems(where, "where")):
        raise StepError("where_invalid", problems[0].message, retryable=False)

    def test(entity: dict[str, JsonValue]) -> bool:
        if not isinstance(where, str):
            return where is None or matches(where, entity["fields"])
        try:
            scope = {**context.scope, "entity": entity}
            return evaluate(unwrapped(where), scope, Meter(_STEPS)) is True
        except ExpressionError:
            return False

    found = await context.clients.records.find(context.org, config.entity_type, test, config.limit)
    return Done(
        output={
            "records": [{"id": row.id, "fields": row.fields} for row in found.records],
            "total": found.total,
        }
    )


STEP = StepType(
    config=Config,
    run=run,
    output='`{"records": [{"id", "fields"}], "total"}`; `total` counts those beyond `limit` too.',
    errors="`entity_type_not_found`, `where_invalid` (neither retried).",
    lane="short",
    expressions=("where",),
)
