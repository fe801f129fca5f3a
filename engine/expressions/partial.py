"""Expressions of which a part is known now and the rest later: `a.b == now.c && later.d > 1`.

What is known is taken out of its scope, and so is what the unknown has to be equal to, so that
whoever waits for it can be found without evaluating anything.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

from pydantic import JsonValue

from engine.expressions.budget import Meter
from engine.expressions.compile import compiled
from engine.expressions.errors import ExpressionError
from engine.expressions.evaluate import program
from engine.expressions.frame import Frame
from engine.expressions.static import path_of, paths_of, references_of
from engine.expressions.syntax import Binary, Logic, Node
from engine.expressions.template import unwrapped


def known_part(
    expression: str, scope: Mapping[str, JsonValue], unknown: Collection[str]
) -> dict[str, JsonValue]:
    """The least of a scope that the expression can be evaluated with, once the rest is known.

    Args:
        expression: with or without `{{ }}`.
        scope: the variables that are known.
        unknown: those that are not, whatever the scope says of them.

    Raises:
        ExpressionError: it does not parse.
    """
    tree = program(unwrapped(expression)).tree
    found: dict[str, JsonValue] = {}
    taken: list[tuple[str, ...]] = []
    for path in sorted({path for path in paths_of(tree) if path[0] not in unknown}, key=len):
        # The shortest come first, and hold what the longer ones want of them.
        if not any(path[: len(shorter)] == shorter for shorter in taken):
            _copy(scope, found, path)
            taken.append(path)
    return found


def required_texts(
    expression: str, scope: Mapping[str, JsonValue], unknown: Collection[str]
) -> Iterator[tuple[tuple[str, ...], str]]:
    """Paths into the unknown with the text that has to be there, or the expression is not true.

    Only texts: for them equality has no second meaning, as it has for 1 and 1.0.

    Raises:
        ExpressionError: it does not parse.
    """
    tree = program(unwrapped(expression)).tree
    for part in tree.operands if isinstance(tree, Logic) and tree.operator == "&&" else (tree,):
        if not (isinstance(part, Binary) and part.operator == "=="):
            continue
        for side, other in ((part.left, part.right), (part.right, part.left)):
            path = path_of(side)
            if path is None or path[0] not in unknown or references_of(other).roots & {*unknown}:
                continue
            value = _value(other, scope)
            if isinstance(value, str):
                yield path, value


def _value(node: Node, scope: Mapping[str, JsonValue]) -> JsonValue:
    try:
        return compiled(node)(Frame(scope, Meter()))
    except ExpressionError:
        # It will fail in the same way when all is known, and then it is not true.
        return None


def _copy(
    scope: Mapping[str, JsonValue], target: dict[str, JsonValue], path: Sequence[str]
) -> None:
    """Put what is at the path there as well, in the same maps; what is not there stays out."""
    here: Mapping[str, JsonValue] = scope
    for key in path[:-1]:
        if key not in here:
            return
        inner = here[key]
        if not isinstance(inner, dict):
            target[key] = inner
            return
        copied = target.setdefault(key, {})
        assert isinstance(copied, dict)
        here, target = inner, copied
    if path[-1] in here:
        target[path[-1]] = here[path[-1]]
