"""What is wrong with a value, said without the validator's own words."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from engine.wording import said


class Side(StrEnum):
    LEFT = "left"
    RIGHT = "right"


class Empty(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Full(BaseModel):
    name: str


def _refused(value: Any) -> Any:
    raise ValueError("Give another one")


@pytest.mark.parametrize(
    ("kind", "value", "sentence"),
    [
        (str, 1, "must be a text"),
        (int, "x", "must be a whole number"),
        (int, 1.5, "must be a whole number"),
        (float, "x", "must be a number"),
        (bool, "x", "must be true or false"),
        (list[int], 1, "must be a list"),
        (dict[str, int], 1, "must be an object"),
        (Empty, 1, "must be an object"),
        (Empty, {"a": 1}, "is not known here"),
        (Full, {}, "is required"),
        (datetime, "x", "must be a date and a time of ISO 8601"),
        (Side, "up", "must be 'left' or 'right'"),
        (Literal["a", "b"], "c", "must be 'a' or 'b'"),
        (Annotated[float, Field(gt=0.5)], 0, "must be greater than 0.5"),
        (Annotated[float, Field(ge=2)], 0, "must be at least 2"),
        (Annotated[int, Field(lt=1)], 1, "must be less than 1"),
        (Annotated[int, Field(le=2**31 - 1)], 2**31, "must be at most 2147483647"),
        (Annotated[float, Field(allow_inf_nan=False)], "nan", "must be a number that is finite"),
        (Annotated[list[int], Field(min_length=1)], [], "needs at least 1 item"),
        (Annotated[list[int], Field(max_length=1)], [1, 2], "takes at most 1 item"),
        (Annotated[str, Field(min_length=2)], "", "needs at least 2 characters"),
        (Annotated[str, Field(max_length=2)], "abc", "takes at most 2 characters"),
        (Annotated[str, Field(pattern="^a$")], "b", "must match the pattern ^a$"),
        (Annotated[str, Field(pattern=r"^[^\x00]*$")], "\0", "must have no NUL character"),
        (Annotated[int, AfterValidator(_refused)], 1, "give another one"),
    ],
)
def test_a_sentence_says_what_a_value_must_be(kind: Any, value: Any, sentence: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(kind).validate_python(value)
    (found,) = caught.value.errors()
    assert said(found) == sentence
