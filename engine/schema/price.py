"""How often the values of an input may be looked at, counted before any of it is done.

A schema that refers to itself in two ways looks at a value twice, at what is inside it four times,
and so on: a hundred characters of schema are enough to stall a process. The count is an upper
bound. It goes by the depth of a value alone, and takes the dearest of the schemas that exclude one
another.
"""

from pydantic import JsonValue

from engine.schema.graph import Graph, Node, Where

#: More than this is too much, however much more it is.
_ENOUGH = 1 << 40
#: Characters of text that count as one more value, and values compared with that count as a look.
_TEXT = 256
_ALIKE = 16


def weigh(value: JsonValue) -> list[int]:
    """How much there is at each depth, the value itself at depth 0: values, and text by length."""
    weights: list[int] = []
    level: list[JsonValue] = [value]
    while level:
        weight = len(level)
        inner: list[JsonValue] = []
        for item in level:
            if isinstance(item, str):
                weight += len(item) // _TEXT
            elif isinstance(item, list):
                inner += item
            elif isinstance(item, dict):
                weight += sum(map(len, item)) // _TEXT
                inner += item.values()
        weights.append(weight)
        level = inner
    return weights


class Price:
    """What comparing with the schemas of a graph costs."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        #: For each depth that was asked for: how often a schema makes a value there looked at.
        self._looks: list[dict[Where, int]] = []

    def at(self, depth: int) -> int:
        """How often one value at that depth may be looked at."""
        while len(self._looks) <= depth:
            self._looks.append(self._next())
        return self._looks[depth][()]

    def of(self, weights: list[int]) -> int:
        """How much there is to look at in an input; `weights` are those of `weigh`."""
        return sum(weight * self.at(depth) for depth, weight in enumerate(weights))

    def _next(self) -> dict[Where, int]:
        above = self._looks[-1] if self._looks else None
        found: dict[Where, int] = {}
        for place in self._graph.order:
            node = self._graph.nodes[place]
            looks = sum(found[other] for other in node.same)
            looks += 1 + node.alike // _ALIKE if above is None else _inside(node, above)
            found[place] = min(looks, _ENOUGH)
        return found


def _inside(node: Node, looks: dict[Where, int]) -> int:
    return sum(looks[other] for other in node.inside) + sum(
        max((looks[other] for other in group), default=0) for group in node.one_of
    )
