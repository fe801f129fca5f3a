"""A syntax tree into a closure: what runs at each evaluation.

Each node becomes one function of a frame, chosen once, so that evaluating does not look at the
tree again. Every node pays one step.
"""

from collections.abc import Callable
from typing import assert_never

from pydantic import JsonValue

from engine.expressions.budget import Meter
from engine.expressions.errors import ExpressionError, Missing, OverBudget
from engine.expressions.frame import Frame, Run, truth
from engine.expressions.functions import FUNCTIONS
from engine.expressions.loops import loop
from engine.expressions.syntax import (
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
    MapOf,
    Name,
    Node,
    Unary,
)
from engine.expressions.values import (
    add,
    calculate,
    contains,
    equal,
    field,
    item,
    kind,
    less,
    whole,
)


def compiled(node: Node) -> Run:
    """The closure of a tree."""
    match node:
        case Literal(value=value):
            return lambda frame: value
        case Name(name=name):
            return _name(name)
        case Field(base=base, key=key):
            return _field(compiled(base), key)
        case Item(base=base, index=index):
            return _item(compiled(base), compiled(index))
        case ListOf(items=items):
            return _list([compiled(one) for one in items])
        case MapOf(pairs=pairs):
            return _map([(compiled(key), compiled(value)) for key, value in pairs])
        case Call(function=function, arguments=arguments):
            return _call(function, [compiled(argument) for argument in arguments])
        case _:
            return _operation(node)


def _operation(node: Unary | Binary | Logic | Choice | Loop | Has | Default) -> Run:
    """The other half of `compiled`: operators, and what does not evaluate each part once."""
    match node:
        case Unary(operator=operator, operand=operand):
            return _not(compiled(operand)) if operator == "!" else _minus(compiled(operand))
        case Binary(operator=operator, left=left, right=right):
            return _binary(operator, compiled(left), compiled(right))
        case Logic(operator=operator, operands=operands):
            return _logic(operator, [compiled(operand) for operand in operands])
        case Choice(condition=condition, yes=yes, no=no):
            return _choice(compiled(condition), compiled(yes), compiled(no))
        case Loop(condition=condition):
            only = compiled(condition) if condition else None
            return loop(node.kind, node.variable, compiled(node.source), only, compiled(node.body))
        case Has(target=target):
            return _has(compiled(target))
        case Default(target=target, fallback=fallback):
            return _default(compiled(target), compiled(fallback))
        case _:
            assert_never(node)


def _name(name: str) -> Run:
    def run(frame: Frame) -> JsonValue:
        frame.meter.spend(1)
        if name in frame.bound:
            return frame.bound[name]
        if name in frame.scope:
            return frame.scope[name]
        raise Missing(f"there is no variable `{name[:80]}` here")

    return run


def _field(base: Run, key: str) -> Run:
    def run(frame: Frame) -> JsonValue:
        frame.meter.spend(1)
        return field(base(frame), key)

    return run


def _item(base: Run, index: Run) -> Run:
    def run(frame: Frame) -> JsonValue:
        frame.meter.spend(1)
        return item(base(frame), index(frame))

    return run


def _list(items: list[Run]) -> Run:
    def run(frame: Frame) -> JsonValue:
        frame.meter.spend(1 + len(items))
        return [one(frame) for one in items]

    return run


def _map(pairs: list[tuple[Run, Run]]) -> Run:
    def run(frame: Frame) -> JsonValue:
        frame.meter.spend(1 + 2 * len(pairs))
        made: dict[str, JsonValue] = {}
        for key_of, value_of in pairs:
            key = key_of(frame)
            if not isinstance(key, str):
                raise ExpressionError(f"the key of a map must be a string, not {kind(key)}")
            made[key] = value_of(frame)
        return made

    return run


def _call(function: str, arguments: list[Run]) -> Run:
    call = FUNCTIONS[function].call

    def run(frame: Frame) -> JsonValue:
        frame.meter.spend(2)
        return call(frame.meter, *[argument(frame) for argument in arguments])

    return run


def _not(operand: Run) -> Run:
    return lambda frame: not truth(operand(frame), "the operand of `!`")


def _minus(operand: Run) -> Run:
    def run(frame: Frame) -> JsonValue:
        frame.meter.spend(1)
        value = operand(frame)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ExpressionError(f"`-` does not take {kind(value)}")
        return whole(-value) if isinstance(value, int) else -value

    return run


def _binary(operator: str, left: Run, right: Run) -> Run:
    def comparison(a: JsonValue, b: JsonValue, meter: Meter) -> JsonValue:
        if operator in ("<", ">="):
            return less(a, b, operator, meter) is (operator == "<")
        return less(b, a, operator, meter) is (operator == ">")

    operations: dict[str, Callable[[JsonValue, JsonValue, Meter], JsonValue]] = {
        "==": equal,
        "!=": lambda a, b, meter: not equal(a, b, meter),
        "+": add,
        "in": lambda a, b, meter: contains(b, a, meter),
    }
    for arithmetic in "-*/%":
        operations[arithmetic] = lambda a, b, meter: calculate(operator, a, b)
    operation = operations.get(operator, comparison)

    def run(frame: Frame) -> JsonValue:
        frame.meter.spend(1)
        return operation(left(frame), right(frame), frame.meter)

    return run


def _logic(operator: str, operands: list[Run]) -> Run:
    decides = operator == "||"

    def run(frame: Frame) -> JsonValue:
        frame.meter.spend(len(operands))
        # CEL: an operand that decides wins over another's error, whichever stands first.
        failed: ExpressionError | None = None
        for operand in operands:
            try:
                if truth(operand(frame), f"each side of `{operator}`") is decides:
                    return decides
            except OverBudget:
                raise
            except ExpressionError as error:
                failed = failed or error
        if failed:
            raise failed
        return not decides

    return run


def _choice(condition: Run, yes: Run, no: Run) -> Run:
    def run(frame: Frame) -> JsonValue:
        frame.meter.spend(1)
        return (yes if truth(condition(frame), "the condition of `? :`") else no)(frame)

    return run


def _has(target: Run) -> Run:
    def run(frame: Frame) -> JsonValue:
        frame.meter.spend(1)
        try:
            target(frame)
        except Missing:
            return False
        return True

    return run


def _default(target: Run, fallback: Run) -> Run:
    def run(frame: Frame) -> JsonValue:
        frame.meter.spend(1)
        try:
            value = target(frame)
        except Missing:
            value = None
        return fallback(frame) if value is None else value

    return run
