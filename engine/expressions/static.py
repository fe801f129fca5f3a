"""What an expression needs and what is wrong with it, known without evaluating it."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from engine.expressions.errors import ExpressionError
from engine.expressions.syntax import (
    Binary,
    Choice,
    Field,
    ListOf,
    Literal,
    Loop,
    MapOf,
    Name,
    Node,
    Unary,
    children,
)
from engine.expressions.values import kind

ROOTS = frozenset({"input", "steps", "item", "index", "run", "entity", "event", "batch", "secrets"})


@dataclass(frozen=True)
class References:
    """What a template or an expression refers to.

    Attributes:
        roots: the variables, as in `input`; names bound by loops are not among them.
        steps: ids of steps in `steps.<id>` and `steps['<id>']`.
        outputs: those of `steps` whose output is needed (more than the status is asked for).
        secrets: names in `secrets.<NAME>`.
        dynamic_steps: `steps` is used in another way, so any step may be needed.
    """

    roots: frozenset[str] = frozenset()
    steps: frozenset[str] = frozenset()
    outputs: frozenset[str] = frozenset()
    secrets: frozenset[str] = frozenset()
    dynamic_steps: bool = False

    @classmethod
    def union(cls, several: Iterable["References"]) -> "References":
        """Everything that any of them refers to."""
        every = tuple(several)
        return cls(
            roots=frozenset[str]().union(*(one.roots for one in every)),
            steps=frozenset[str]().union(*(one.steps for one in every)),
            outputs=frozenset[str]().union(*(one.outputs for one in every)),
            secrets=frozenset[str]().union(*(one.secrets for one in every)),
            dynamic_steps=any(one.dynamic_steps for one in every),
        )


def path_of(node: Node) -> tuple[str, ...] | None:
    """`a.b['c']` as `("a", "b", "c")`; None if the node is anything but names in the source."""
    keys: list[str] = []
    while isinstance(node, Field):
        keys.append(node.key)
        node = node.base
    return (node.name, *reversed(keys)) if isinstance(node, Name) else None


def references_of(tree: Node) -> References:
    """The references of one tree."""
    return References.union(_of_path(path) for path in paths_of(tree))


def check_secrets(tree: Node) -> None:
    """Secrets are named in the source, so that a definition says which ones it uses.

    Raises:
        ExpressionError: `secrets` is used as a whole or with a computed name.
    """
    if any(path == ("secrets",) for path in paths_of(tree)):
        raise ExpressionError("a secret must be named, as in `secrets.NAME`")


def never_boolean(tree: Node) -> str | None:
    """What it is, where its source alone says that it cannot be true or false; else None."""
    match tree:
        case Literal(value=value) if not isinstance(value, bool):
            return kind(value)
        case Unary(operator="-"):
            return "a number"
        case Binary(operator="+" | "-" | "*" | "/" | "%" as operator):
            return f"what `{operator}` makes"
        case ListOf() | Loop(kind="map" | "filter"):
            return "list"
        case MapOf():
            return "map"
        case Choice(yes=yes, no=no):
            return never_boolean(yes) and never_boolean(no)
        case _:
            return None


def unknown_roots(tree: Node, known: Collection[str]) -> list[str]:
    """A message for each variable that is not among those that are known."""
    return [
        f"there is no variable `{name[:80]}`; there are {', '.join(sorted(known))}"
        for name in sorted(references_of(tree).roots.difference(known))
    ]


def _of_path(path: tuple[str, ...]) -> References:
    roots = frozenset(path[:1])
    named = frozenset(path[1:2])
    if path[0] == "secrets":
        return References(roots=roots, secrets=named)
    if path[0] != "steps":
        return References(roots=roots)
    status_only = path[2:3] == ("status",)
    return References(
        roots=roots,
        steps=named,
        outputs=frozenset() if status_only else named,
        dynamic_steps=not named,
    )


def paths_of(tree: Node) -> Iterable[tuple[str, ...]]:
    """The longest path at each use of a variable that no loop has bound."""
    waiting: list[tuple[Node, frozenset[str]]] = [(tree, frozenset())]
    while waiting:
        node, bound = waiting.pop()
        if path := path_of(node):
            if path[0] not in bound:
                yield path
        elif isinstance(node, Loop):
            inside = bound | {node.variable}
            waiting.append((node.source, bound))
            waiting.append((node.body, inside))
            if node.condition:
                waiting.append((node.condition, inside))
        else:
            waiting.extend((child, bound) for child in children(node))
