"""`map`, `filter`, `all`, `exists`, `exists_one`: the body runs once for each element."""

from collections.abc import Iterator

from pydantic import JsonValue

from engine.expressions.budget import Meter
from engine.expressions.errors import ExpressionError, OverBudget
from engine.expressions.frame import Frame, Run, truth
from engine.expressions.syntax import LoopKind
from engine.expressions.values import kind


def loop(name: LoopKind, variable: str, source: Run, condition: Run | None, body: Run) -> Run:
    """The closure of a loop; `condition` is the middle part of a `map` with three."""
    each = _Each(name, variable, source)
    if name == "map":
        return _mapped(each, condition, body)
    if name == "filter":
        return lambda frame: [one for one, inner in each(frame) if each.holds(body, inner)]
    if name == "exists_one":
        return lambda frame: sum(each.holds(body, inner) for _, inner in each(frame)) == 1
    return _decided(each, body, decides=name == "exists")


class _Each:
    """Goes through what a loop iterates and binds its variable."""

    def __init__(self, name: LoopKind, variable: str, source: Run) -> None:
        self._name = name
        self._variable = variable
        self._source = source

    def __call__(self, frame: Frame) -> Iterator[tuple[JsonValue, Frame]]:
        """Each element with the frame in which it is bound; `frame` itself stays as it is."""
        elements = self._elements(self._source(frame), frame.meter)
        inner = Frame(frame.scope, frame.meter)
        inner.bound.update(frame.bound)
        for element in elements:
            inner.bound[self._variable] = element
            yield element, inner

    def holds(self, body: Run, frame: Frame) -> bool:
        return truth(body(frame), f"the condition of `{self._name}`")

    def _elements(self, value: JsonValue, meter: Meter) -> list[JsonValue]:
        """The elements of a list, or the keys of a map in sorted order."""
        if isinstance(value, list):
            meter.spend(len(value))
            return value
        if isinstance(value, dict):
            meter.spend(2 * len(value))
            return list(sorted(value))
        raise ExpressionError(f"`{self._name}` goes through a list or a map, not {kind(value)}")


def _mapped(each: _Each, condition: Run | None, body: Run) -> Run:
    if condition is None:
        return lambda frame: [body(inner) for _, inner in each(frame)]
    only = condition
    return lambda frame: [body(inner) for _, inner in each(frame) if each.holds(only, inner)]


def _decided(each: _Each, body: Run, decides: bool) -> Run:
    """`exists` (decided by a true one) and `all` (by a false one)."""

    def run(frame: Frame) -> JsonValue:
        # CEL: an element that decides wins over another's error, whichever comes first.
        failed: ExpressionError | None = None
        for _, inner in each(frame):
            try:
                if each.holds(body, inner) is decides:
                    return decides
            except OverBudget:
                raise
            except ExpressionError as error:
                failed = failed or error
        if failed:
            raise failed
        return not decides

    return run
