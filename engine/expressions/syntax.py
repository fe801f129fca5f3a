"""The syntax tree of an expression. Immutable, so that one parse serves every evaluation."""

from dataclasses import dataclass, fields
from typing import Literal as OneOf

LOOPS = ("map", "filter", "all", "exists", "exists_one")
LoopKind = OneOf["map", "filter", "all", "exists", "exists_one"]


@dataclass(frozen=True, slots=True)
class Literal:
    """`1`, `'a'`, `true`, `null`."""

    value: str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Name:
    """A variable: a root such as `input`, or one bound by a loop."""

    name: str


@dataclass(frozen=True, slots=True)
class Field:
    """`base.key` and `base['key']`: the same thing, written with the key in the source."""

    base: "Node"
    key: str


@dataclass(frozen=True, slots=True)
class Item:
    """`base[index]` with an index that is not a text in the source."""

    base: "Node"
    index: "Node"


@dataclass(frozen=True, slots=True)
class ListOf:
    """`[a, b]`."""

    items: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class MapOf:
    """`{'a': 1}`; keys may be computed."""

    pairs: tuple[tuple["Node", "Node"], ...]


@dataclass(frozen=True, slots=True)
class Call:
    """`f(a, b)`, and `a.f(b)`, which is the same."""

    function: str
    arguments: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Unary:
    """`-a` and `!a`."""

    operator: str
    operand: "Node"


@dataclass(frozen=True, slots=True)
class Binary:
    """Arithmetic, comparison, `in`."""

    operator: str
    left: "Node"
    right: "Node"


@dataclass(frozen=True, slots=True)
class Logic:
    """`a && b && c`, `a || b || c`: flat, so that long conditions are not deep."""

    operator: str
    operands: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """`condition ? yes : no`."""

    condition: "Node"
    yes: "Node"
    no: "Node"


@dataclass(frozen=True, slots=True)
class Loop:
    """`source.kind(variable, body)`; `map` may carry a condition before its body."""

    kind: LoopKind
    source: "Node"
    variable: str
    condition: "Node | None"
    body: "Node"


@dataclass(frozen=True, slots=True)
class Has:
    """`has(target)`: whether it is there."""

    target: Field | Item


@dataclass(frozen=True, slots=True)
class Default:
    """`default(target, fallback)`: the fallback if the target is missing or null."""

    target: "Node"
    fallback: "Node"


Node = (
    Literal
    | Name
    | Field
    | Item
    | ListOf
    | MapOf
    | Call
    | Unary
    | Binary
    | Logic
    | Choice
    | Loop
    | Has
    | Default
)


def children(node: Node) -> tuple[Node, ...]:
    """The nodes directly inside a node, in the order of the source."""
    found: list[Node] = []
    waiting: list[object] = [getattr(node, part.name) for part in reversed(fields(node))]
    while waiting:
        part = waiting.pop()
        if isinstance(part, tuple):
            waiting.extend(reversed(part))
        elif isinstance(part, Node):
            found.append(part)
    return tuple(found)
