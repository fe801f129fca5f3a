"""Tests of the fields of a record, as `condition` steps write them.

    {"field": "seoScore", "operator": "gte", "value": 60}
    {"all": [test, {"any": [test, test]}]}

The operators are those of the trees in `engine.conditions`, under the names of contracts §2.3: a
test never fails, a field that is not there is null, and what cannot be compared does not hold.
"""

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationInfo,
    field_validator,
    model_validator,
)

from engine.conditions import DEEPEST, MOST_RULES, applies, value_problems
from engine.rules import field_of

Operator = Literal["eq", "neq", "gt", "gte", "lt", "lte", "contains", "in", "empty", "notEmpty"]
_OF_TREES: dict[Operator, str] = {
    "eq": "is",
    "neq": "is_not",
    "gt": "gt",
    "gte": "gte",
    "lt": "lt",
    "lte": "lte",
    "contains": "contains",
    "in": "in",
    "empty": "empty",
    "notEmpty": "not_empty",
}


class FieldTest(BaseModel):
    """One test of a field, or a group of them."""

    model_config = ConfigDict(extra="forbid")

    field: str | None = Field(
        default=None,
        min_length=1,
        max_length=500,
        description="The field that is looked at: a key, or keys joined by dots.",
    )
    operator: Operator | None = Field(default=None, description="What is asked of the field.")
    value: JsonValue = Field(default=None, description="What it is compared with.")
    all: list["FieldTest"] | None = Field(
        default=None,
        min_length=1,
        max_length=MOST_RULES,
        description="Tests `{field, operator, value}` and groups, each of which has to hold.",
    )
    any: list["FieldTest"] | None = Field(
        default=None,
        min_length=1,
        max_length=MOST_RULES,
        description="Tests and groups, one of which has to hold.",
    )

    @field_validator("value")
    @classmethod
    def _fits_the_operator(cls, value: JsonValue, info: ValidationInfo) -> JsonValue:
        operator = info.data.get("operator")
        if operator is not None:
            wrong = value_problems(_OF_TREES[operator], operator, {"value": value})
            if wrong:
                raise ValueError(wrong[0])
        return value

    @model_validator(mode="after")
    def _is_one_test(self) -> Self:
        if self.written() != 1:
            raise ValueError("a test is one of 'field' with 'operator', 'all' and 'any'")
        check_test(self)
        return self

    def written(self) -> int:
        """How many of the three forms are there."""
        return sum(key is not None for key in (self.field, self.all, self.any))

    def holds(self, record: Mapping[str, JsonValue]) -> bool:
        """Whether it holds for a record."""
        if self.all is not None:
            return all(test.holds(record) for test in self.all)
        if self.any is not None:
            return any(test.holds(record) for test in self.any)
        assert self.field is not None
        assert self.operator is not None
        return applies(_OF_TREES[self.operator], field_of(record, self.field), self.value)


def check_test(test: FieldTest) -> None:
    """Look at what no key can be judged by alone.

    Raises:
        ValueError: a key is missing or one too many, or there are too many tests in one another.
    """
    if (test.field is None) != (test.operator is None):
        raise ValueError("'field' and 'operator' belong together")
    given = "value" in test.model_fields_set
    if test.operator is None:
        if given:
            raise ValueError("'value' belongs to 'operator'")
    elif not given and test.operator not in ("empty", "notEmpty"):
        raise ValueError(f"'{test.operator}' needs a value")
    depth, count = _size(test)
    if depth > DEEPEST:
        raise ValueError(f"groups are nested deeper than {DEEPEST}")
    if count > MOST_RULES:
        raise ValueError(f"there are {count} tests; {MOST_RULES} is the most")


def _size(test: FieldTest) -> tuple[int, int]:
    """How deep groups are nested, and how many tests there are in all."""
    inner = [_size(one) for one in (*(test.all or ()), *(test.any or ()))]
    if not inner:
        return 0, 1
    return 1 + max(depth for depth, _ in inner), sum(count for _, count in inner)
