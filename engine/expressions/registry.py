"""The table of functions, and how a function gets into it.

A function takes the meter and the evaluated arguments, and pays for work that grows with data
before it does it. The checks of arguments live here, so that every function refuses alike.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from pydantic import JsonValue

from engine.expressions.errors import ExpressionError
from engine.expressions.values import kind

SEARCHED_PER_STEP = 64  # characters that one step looks through


@dataclass(frozen=True, slots=True)
class Function:
    """One function.

    Attributes:
        arguments: how many it takes, least and most; a receiver counts.
        call: the meter and the arguments in, the result out; `ExpressionError` on misuse.
    """

    arguments: tuple[int, int]
    call: Callable[..., JsonValue]


FUNCTIONS: dict[str, Function] = {}


def function(
    *names: str, least: int = 1, most: int | None = None
) -> Callable[[Callable[..., JsonValue]], Callable[..., JsonValue]]:
    """Enter a function under its names; it takes `least` to `most` (or just `least`) arguments."""

    def register(call: Callable[..., JsonValue]) -> Callable[..., JsonValue]:
        for name in names:
            FUNCTIONS[name] = Function((least, least if most is None else most), call)
        return call

    return register


def wrong(name: str, wanted: str, value: JsonValue) -> NoReturn:
    """Refuse an argument; the message names its type and never shows it."""
    raise ExpressionError(f"`{name}` takes {wanted}, not {kind(value)}")


def text_of(name: str, value: JsonValue) -> str:
    """The argument, if it is a string."""
    return value if isinstance(value, str) else wrong(name, "a string", value)


def list_of(name: str, value: JsonValue) -> list[JsonValue]:
    """The argument, if it is a list."""
    return value if isinstance(value, list) else wrong(name, "a list", value)


def map_of(name: str, value: JsonValue) -> dict[str, JsonValue]:
    """The argument, if it is a map."""
    return value if isinstance(value, dict) else wrong(name, "a map", value)


def whole_of(name: str, value: JsonValue) -> int:
    """The argument, if it is a whole number; true and false are none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    wrong(name, "a whole number", value)


def number_of(name: str, value: JsonValue) -> int | float:
    """The argument, if it is a number; true and false are none."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    wrong(name, "a number", value)
