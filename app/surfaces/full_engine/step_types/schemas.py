"""What is answered about step types."""

from typing import Any

from typing_extensions import TypedDict

from engine.catalog import Lane


class StepTypeOut(TypedDict):
    """One step type; `output` and `errors` are Markdown, `timeout` is in seconds.

    `per_entity` says whether a batch can run it for each of its entities.

    `config_schema` is the JSON Schema of its `config` before templates are rendered: wherever it
    asks for something else than text, a text with a template in it will do.
    """

    type: str
    description: str
    output: str
    errors: str
    lane: Lane
    timeout: float
    per_entity: bool
    config_schema: dict[str, Any]


class StepTypesOut(TypedDict):
    """Every step type, in alphabetical order."""

    step_types: list[StepTypeOut]
