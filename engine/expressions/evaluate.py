"""One expression: parsed once, evaluated often."""

import functools
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TypeVar

from pydantic import JsonValue

from engine.expressions.budget import Meter, check_output
from engine.expressions.compile import compiled
from engine.expressions.errors import ExpressionError
from engine.expressions.frame import Frame, Run
from engine.expressions.parser import parse
from engine.expressions.static import (
    ROOTS,
    References,
    check_secrets,
    never_boolean,
    path_of,
    references_of,
    unknown_roots,
)
from engine.expressions.syntax import Node
from engine.expressions.template import unwrapped
from engine.expressions.values import field

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Program:
    """A parsed expression.

    Attributes:
        tree: its syntax.
        path: `("steps", "a", "output")` if it is no more than that; such need no closure.
        run: its closure.
        references: what it refers to.
    """

    tree: Node
    path: tuple[str, ...] | None
    run: Run
    references: References


@functools.lru_cache(maxsize=512)
def _program(source: str) -> Program:
    tree = parse(source)
    check_secrets(tree)
    return Program(tree, path_of(tree), compiled(tree), references_of(tree))


def program(source: str) -> Program:
    """The parsed expression, from a cache of 512.

    Raises:
        ExpressionError: it does not parse or exceeds a static budget.
    """
    return _quoting(source, lambda: _program(source))


def run(source: str, scope: Mapping[str, JsonValue], meter: Meter) -> JsonValue:
    """Evaluate one expression without braces, paying from `meter`.

    Raises:
        ExpressionError: it does not parse, or this data does not fit it.
    """
    return _quoting(source, lambda: _run(_program(source), scope, meter))


def evaluate(expression: str, scope: Mapping[str, JsonValue]) -> JsonValue:
    """The value of one expression.

    Args:
        expression: with or without `{{ }}` around it.
        scope: the variables by name: `input`, `steps` as `{id: {"output": …, "status": …}}`, ….

    Returns:
        JSON. Parts of it may be parts of `scope` itself: do not change them.

    Raises:
        ExpressionError: it does not parse, something is missing, types do not fit, or a budget of
            work or size is exceeded. The message quotes the expression and never shows data.
    """
    return run(unwrapped(expression), scope, Meter())


def expression_references(expression: str) -> References:
    """What an expression (with or without `{{ }}`) refers to.

    Raises:
        ExpressionError: it does not parse.
    """
    return program(unwrapped(expression)).references


def expression_problems(
    expression: str, extra: Collection[str] = (), variables: Collection[str] = ROOTS
) -> list[str]:
    """Everything that can be known to be wrong before there is data; empty if it is fine.

    Args:
        expression: with or without `{{ }}`.
        extra: variables that exist here beside the usual ones, as a loop's `item_var`.
        variables: those that exist here at all, where they are not the usual ones.
    """
    try:
        source = unwrapped(expression)
        tree = program(source).tree
    except ExpressionError as error:
        return [str(error)]
    known = {*variables, *extra}
    return [str(ExpressionError(message, source)) for message in unknown_roots(tree, known)]


def boolean_problems(expression: str, variables: Collection[str] = ROOTS) -> list[str]:
    """Likewise for an expression that has to be true or false."""
    found = expression_problems(expression, variables=variables)
    never = None if found else never_true(expression)
    return found if never is None else [never]


def never_true(expression: str) -> str | None:
    """Why an expression is never true or false, where the source alone says so; else None."""
    try:
        source = unwrapped(expression)
        never = never_boolean(program(source).tree)
    except ExpressionError:
        return None
    return never and str(ExpressionError(f"it must be true or false, not {never}", source))


def _run(parsed: Program, scope: Mapping[str, JsonValue], meter: Meter) -> JsonValue:
    if parsed.path and parsed.path[0] in scope:
        meter.spend(len(parsed.path))
        value = scope[parsed.path[0]]
        for key in parsed.path[1:]:
            value = field(value, key)
        return value
    value = parsed.run(Frame(scope, meter))
    check_output(value)
    return value


def _quoting(source: str, work: Callable[[], T]) -> T:
    try:
        return work()
    except ExpressionError as error:
        raise error.within(source) from None
    except UnicodeError:
        raise ExpressionError("a text holds half of a surrogate pair", source) from None
    except RecursionError:
        raise ExpressionError("it or its data is nested too deep", source) from None
