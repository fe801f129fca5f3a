"""What one evaluation carries from node to node."""

from collections.abc import Callable, Mapping

from pydantic import JsonValue

from engine.expressions.budget import Meter
from engine.expressions.errors import ExpressionError
from engine.expressions.values import kind


class Frame:
    """What one evaluation knows: the variables, what loops have bound, and the meter."""

    __slots__ = ("bound", "meter", "scope")

    def __init__(self, scope: Mapping[str, JsonValue], meter: Meter) -> None:
        self.scope = scope
        self.bound: dict[str, JsonValue] = {}
        self.meter = meter


Run = Callable[[Frame], JsonValue]


def truth(value: JsonValue, where: str) -> bool:
    """A condition must be true or false; nothing else counts as either."""
    if isinstance(value, bool):
        return value
    raise ExpressionError(f"{where} must be true or false, not {kind(value)}")
