"""Which schemas a schema applies: to the same value, or to what is inside it.

References are followed inside the document alone, as `#` or `#/…`. What would lead elsewhere, or
gives schemas other names (`$anchor`, an `$id` below the root, dynamic references), is refused, so
that a reference means what it says.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter

from pydantic import JsonValue

#: The one dialect.
DIALECT = "https://json-schema.org/draft/2020-12/schema"
_REFUSED = ("$anchor", "$dynamicAnchor", "$dynamicRef", "$recursiveRef", "$recursiveAnchor")
#: Keywords whose schemas apply to the same value.
_SAME = ("not", "if", "then", "else")
_SAME_EACH = ("allOf", "anyOf", "oneOf", "dependentSchemas")
#: Keywords whose schemas may all apply to one and the same value inside.
_INSIDE = (
    "additionalProperties",
    "unevaluatedProperties",
    "propertyNames",
    "items",
    "unevaluatedItems",
    "contains",
)
#: Of these, each value inside has one schema at most.
_INSIDE_ONE = ("properties", "prefixItems")
#: Keywords that only keep schemas for references.
_KEPT = ("$defs", "definitions")

Where = tuple[str, ...]
Schema = dict[str, JsonValue]


class UnreadableSchema(Exception):
    """The schema is not one that is accepted; `complaints` says why, each with its place."""

    def __init__(self, complaints: list[tuple[Where, str]]) -> None:
        super().__init__(complaints)
        self.complaints = complaints


@dataclass
class Node:
    """One schema of the document, named by its place.

    Attributes:
        same: schemas that apply to the same value.
        inside: schemas that may all apply to a value inside.
        one_of: groups of schemas, of each of which one at most applies to a value inside.
        alike: how many values the value is compared with.
    """

    same: list[Where] = field(default_factory=list)
    inside: list[Where] = field(default_factory=list)
    one_of: list[list[Where]] = field(default_factory=list)
    alike: int = 0


@dataclass
class Graph:
    """Every schema of a document.

    Attributes:
        order: the places, each after those that apply to the same value.
        patterns: every regular expression and where it is.
    """

    nodes: dict[Where, Node] = field(default_factory=dict)
    order: list[Where] = field(default_factory=list)
    patterns: list[tuple[Where, str]] = field(default_factory=list)


def draw(schema: Schema) -> Graph:
    """Find all schemas of a document that the metaschema accepts.

    Raises:
        UnreadableSchema: it holds what is refused, a reference that leads nowhere, or one that
            comes back to itself without going deeper into the value.
    """
    drawing = _Drawing(schema)
    drawing.draw()
    if drawing.complaints:
        raise UnreadableSchema(drawing.complaints)
    graph = drawing.graph
    try:
        links = {place: node.same for place, node in graph.nodes.items()}
        graph.order = list(TopologicalSorter(links).static_order())
    except CycleError as error:
        circle = " → ".join("/".join(("#", *place)) for place in reversed(error.args[1]))
        raise UnreadableSchema([((), f"it refers to itself in a circle: {circle}")]) from None
    return graph


class _Drawing:
    """A document that is being read."""

    def __init__(self, root: Schema) -> None:
        self._root = root
        self.graph = Graph()
        self.complaints: list[tuple[Where, str]] = []

    def draw(self) -> None:
        """Read the root and all that it leads to."""
        todo: list[Where] = [()]
        while todo:
            place = todo.pop()
            if place in self.graph.nodes:
                continue
            node = self.graph.nodes[place] = Node()
            schema = self._at(place)
            if isinstance(schema, dict):
                self._look(place, schema)
                self._link(place, node, schema)
                todo += _all(node)
                todo += _each(place, schema, _KEPT)

    def _look(self, place: Where, schema: Schema) -> None:
        """Refuse what is refused, and gather patterns."""
        dialect = schema.get("$schema", DIALECT)
        if str(dialect).removesuffix("#") != DIALECT:
            self._complain(place, "$schema", f"must be {DIALECT}, or not be there")
        if place and "$id" in schema:
            self._complain(place, "$id", "is only supported at the root")
        for key in _REFUSED:
            if key in schema:
                self._complain(place, key, "is not supported; use $ref with '#/…'")
        if isinstance(pattern := schema.get("pattern"), str):
            self.graph.patterns.append(((*place, "pattern"), pattern))
        if isinstance(patterns := schema.get("patternProperties"), dict):
            key = "patternProperties"
            self.graph.patterns += [((*place, key, pattern), pattern) for pattern in patterns]

    def _link(self, place: Where, node: Node, schema: Schema) -> None:
        node.same += [(*place, key) for key in _SAME if key in schema]
        node.same += _each(place, schema, _SAME_EACH)
        if isinstance(reference := schema.get("$ref"), str):
            target = self._target(reference)
            if target is None:
                self._complain(place, "$ref", "leads nowhere; it must be '#/…' inside the schema")
            else:
                node.same.append(target)
        node.inside += [(*place, key) for key in _INSIDE if key in schema]
        node.inside += _each(place, schema, ("patternProperties",))
        node.one_of += [_each(place, schema, (key,)) for key in _INSIDE_ONE if key in schema]
        if isinstance(values := schema.get("enum"), list):
            node.alike = len(values)

    def _target(self, reference: str) -> Where | None:
        """The place that a reference names; None when there is no schema."""
        if reference == "#":
            return ()
        if not reference.startswith("#/") or "%" in reference:
            return None
        parts = (part.replace("~1", "/").replace("~0", "~") for part in reference[2:].split("/"))
        place = tuple(parts)
        return place if isinstance(self._at(place), dict | bool) else None

    def _at(self, place: Where) -> JsonValue:
        here: JsonValue = self._root
        for part in place:
            if isinstance(here, dict):
                here = here.get(part)
            elif isinstance(here, list) and part.isdecimal() and int(part) < len(here):
                here = here[int(part)]
            else:
                return None
        return here

    def _complain(self, place: Where, key: str, complaint: str) -> None:
        self.complaints.append(((*place, key), f"{key} {complaint}"))


def _each(place: Where, schema: Mapping[str, JsonValue], keys: tuple[str, ...]) -> list[Where]:
    return [(*place, key, part) for key in keys for part in _parts(schema.get(key))]


def _parts(value: JsonValue) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
    elif isinstance(value, list):
        yield from map(str, range(len(value)))


def _all(node: Node) -> list[Where]:
    return [*node.same, *node.inside, *(place for group in node.one_of for place in group)]
