"""Tokens into a syntax tree: CEL's grammar, precedence climbing, budgets on the way.

What CEL has and this language has not, on purpose: bytes, unsigned numbers, message construction,
optional values, timestamps and durations.
"""

import math
from typing import cast

from engine.expressions.budget import MAX_DEPTH, MAX_LENGTH, MAX_NESTED_LOOPS
from engine.expressions.errors import ExpressionError
from engine.expressions.functions import FUNCTIONS
from engine.expressions.lexer import Token, tokens
from engine.expressions.syntax import (
    LOOPS,
    Binary,
    Call,
    Choice,
    Default,
    Field,
    Has,
    Item,
    ListOf,
    Literal,
    Logic,
    Loop,
    LoopKind,
    MapOf,
    Name,
    Node,
    Unary,
    children,
)

_CONSTANTS: dict[str, bool | None] = {"true": True, "false": False, "null": None}
_RESERVED = frozenset(
    [
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "in",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ]
)
_LEVELS = (
    ("==", "!=", "<", "<=", ">", ">=", "in"),
    ("+", "-"),
    ("*", "/", "%"),
)
_INT64 = 2**63


def parse(source: str) -> Node:
    """The tree of one expression (without its braces).

    Raises:
        ExpressionError: it does not parse, calls an unknown function or exceeds a static budget.
    """
    if len(source) > MAX_LENGTH:
        raise ExpressionError(f"it is longer than {MAX_LENGTH} characters")
    if any(0xD800 <= ord(character) <= 0xDFFF for character in source):
        raise ExpressionError("it holds half of a surrogate pair")
    parser = _Parser(tokens(source))
    tree = parser.expression()
    parser.expect_end()
    _check_shape(tree)
    return tree


def _check_shape(tree: Node) -> None:
    """Depth and nesting of loops, without recursion because the tree may be too deep for it."""
    waiting: list[tuple[Node, int, int]] = [(tree, 1, 0)]
    while waiting:
        node, depth, loops = waiting.pop()
        inner = loops + isinstance(node, Loop)
        if depth > MAX_DEPTH:
            raise ExpressionError(f"it is nested more than {MAX_DEPTH} deep")
        if inner > MAX_NESTED_LOOPS:
            raise ExpressionError(f"loops are nested more than {MAX_NESTED_LOOPS} deep")
        for child in children(node):
            # What a loop iterates is evaluated once, so it does not count as inside.
            within = loops if isinstance(node, Loop) and child is node.source else inner
            waiting.append((child, depth + 1, within))


class _Parser:
    def __init__(self, found: list[Token]) -> None:
        self._tokens = found
        self._at = 0
        self._depth = 0

    def expression(self) -> Node:
        self._enter()
        condition = self._logic("||")
        if self._accept("?"):
            yes = self._logic("||")
            self._expect(":")
            condition = Choice(condition, yes, self.expression())
        self._depth -= 1
        return condition

    def expect_end(self) -> None:
        if self._peek.kind != "end":
            raise self._unexpected()

    @property
    def _peek(self) -> Token:
        return self._tokens[self._at]

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ExpressionError(f"it is nested more than {MAX_DEPTH} deep")

    def _is(self, text: str) -> bool:
        token = self._peek
        return token.text == text and token.kind == ("name" if text == "in" else "symbol")

    def _accept(self, text: str) -> bool:
        found = self._is(text)
        self._at += found
        return found

    def _expect(self, text: str) -> None:
        if not self._accept(text):
            raise self._unexpected(f"; expected `{text}`")

    def _unexpected(self, hint: str = "") -> ExpressionError:
        token = self._peek
        if token.kind == "end":
            return ExpressionError(f"it ends too early{hint}")
        what = "a text" if token.kind == "text" else f"`{token.text[:40]}`"
        return ExpressionError(f"unexpected {what} at character {token.at + 1}{hint}")

    def _logic(self, operator: str) -> Node:
        def operand() -> Node:
            return self._logic("&&") if operator == "||" else self._binary(0)

        operands = [operand()]
        while self._accept(operator):
            operands.append(operand())
        return operands[0] if len(operands) == 1 else Logic(operator, tuple(operands))

    def _binary(self, level: int) -> Node:
        if level == len(_LEVELS):
            return self._unary()
        left = self._binary(level + 1)
        while operator := next((o for o in _LEVELS[level] if self._accept(o)), None):
            left = Binary(operator, left, self._binary(level + 1))
        return left

    def _unary(self) -> Node:
        for operator in ("!", "-"):
            if not self._accept(operator):
                continue
            if operator == "-" and self._peek.kind in ("int", "float"):
                return self._postfix(self._number("-"))
            self._enter()
            operand = self._unary()
            self._depth -= 1
            return Unary(operator, operand)
        return self._postfix(self._primary())

    def _primary(self) -> Node:
        token = self._peek
        if token.kind in ("int", "float"):
            return self._number("")
        self._at += token.kind in ("text", "name")
        if token.kind == "text":
            return Literal(token.text)
        if token.kind == "name":
            return self._named(token)
        if self._accept("("):
            inner = self.expression()
            self._expect(")")
            return inner
        if self._accept("["):
            return ListOf(self._several("]"))
        if self._accept("{"):
            return self._map()
        raise self._unexpected()

    def _number(self, sign: str) -> Literal:
        token = self._peek
        self._at += 1
        if token.kind == "float":
            number = float(sign + token.text)
            if math.isinf(number):
                raise ExpressionError(f"the number at character {token.at + 1} is too large")
            return Literal(number)
        # Python refuses to convert more than some thousand digits; 64 bits have 19.
        digits = token.text if len(token.text) <= 64 else str(_INT64 + 1)
        whole = int(sign + digits, 16 if digits[:2] in ("0x", "0X") else 10)
        if not -_INT64 <= whole < _INT64:
            raise ExpressionError(f"the number at character {token.at + 1} exceeds 64 bits")
        return Literal(whole)

    def _named(self, token: Token) -> Node:
        if token.text in _CONSTANTS:
            return Literal(_CONSTANTS[token.text])
        if token.text in _RESERVED:
            raise ExpressionError(f"`{token.text}` is a reserved word")
        if self._accept("("):
            return self._call(token.text, self._several(")"))
        return Name(token.text)

    def _several(self, closing: str) -> tuple[Node, ...]:
        items: list[Node] = []
        while not self._accept(closing):
            items.append(self.expression())
            if not self._accept(","):
                self._expect(closing)
                break
        return tuple(items)

    def _map(self) -> MapOf:
        pairs: list[tuple[Node, Node]] = []
        while not self._accept("}"):
            key = self.expression()
            self._expect(":")
            pairs.append((key, self.expression()))
            if not self._accept(","):
                self._expect("}")
                break
        return MapOf(tuple(pairs))

    def _postfix(self, node: Node) -> Node:
        while True:
            if self._accept("["):
                index = self.expression()
                self._expect("]")
                if isinstance(index, Literal) and isinstance(index.value, str):
                    node = Field(node, index.value)
                else:
                    node = Item(node, index)
            elif self._accept("."):
                key = self._peek
                if key.kind != "name":
                    raise self._unexpected("; expected a name")
                self._at += 1
                if self._accept("("):
                    node = self._method(node, key.text, self._several(")"))
                else:
                    node = Field(node, key.text)
            else:
                return node

    def _method(self, receiver: Node, name: str, arguments: tuple[Node, ...]) -> Node:
        if name not in LOOPS:
            return self._call(name, (receiver, *arguments))
        three = name == "map" and len(arguments) == 3
        if len(arguments) != 2 and not three:
            raise ExpressionError(f"`{name}` is written `.{name}(x, …)`")
        variable = arguments[0]
        if not isinstance(variable, Name):
            raise ExpressionError(f"the first part of `{name}` must be a plain name")
        condition = arguments[1] if three else None
        return Loop(cast(LoopKind, name), receiver, variable.name, condition, arguments[-1])

    def _call(self, name: str, arguments: tuple[Node, ...]) -> Node:
        if name == "has":
            if len(arguments) != 1 or not isinstance(arguments[0], Field | Item):
                raise ExpressionError("`has` takes one path, as in `has(input.name)`")
            return Has(arguments[0])
        if name == "default":
            if len(arguments) != 2:
                raise ExpressionError("`default` takes a value and a fallback")
            return Default(*arguments)
        if name not in FUNCTIONS:
            raise ExpressionError(f"there is no function `{name[:40]}`")
        least, most = FUNCTIONS[name].arguments
        if not least <= len(arguments) <= most:
            wanted = str(least) if least == most else f"{least} to {most}"
            raise ExpressionError(f"`{name}` takes {wanted} values, not {len(arguments)}")
        return Call(name, arguments)
