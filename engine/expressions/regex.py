r"""`matches`: regular expressions that cannot stall, by the linear engine of the CEL library.

Python's own `re` backtracks, so a pattern from a user could run for ever. The library compiles the
pattern at each call, and that, not the search, is what costs: 10 µs for plain text, 0.5 ms for each
`\w` or `\d` (they are Unicode classes), and more when repeated; hence the price below.
"""

import functools
import re
from typing import TYPE_CHECKING

from engine.expressions.budget import Meter
from engine.expressions.errors import ExpressionError

if TYPE_CHECKING:
    from cel.cel import Program

_MAX_PATTERN = 200  # characters
_CLASS_STEPS = 1000  # compiling one Unicode class, 0.4 ms
_PLAIN_STEPS = 5  # compiling one other character
_SEARCHED_PER_STEP = 64  # characters
_CLASS = re.compile(r"\\[wWdDsSpPbB]|\(\?[a-zA-Z]*i")
_REPETITION = re.compile(r"\{([0-9]{1,6})(?:,([0-9]{0,6}))?\}")


def matches(text: str, pattern: str, meter: Meter) -> bool:
    """Whether the pattern occurs anywhere in the text (write `^…$` for the whole).

    Raises:
        ExpressionError: the pattern is not valid or too large.
        OverBudget: compiling and searching would cost too much.
    """
    meter.spend(_price(pattern) + len(text) // _SEARCHED_PER_STEP)
    try:
        found = _program().execute({"text": text, "pattern": pattern})
    except (RuntimeError, ValueError):  # not shown: the library's message repeats the pattern
        raise ExpressionError("`matches` cannot read the pattern") from None
    return bool(found)


@functools.lru_cache(maxsize=256)
def check_pattern(pattern: str) -> None:
    """Refuse a pattern that `matches` cannot use; one that it can is remembered.

    Raises:
        ExpressionError: it is not valid or too large, or compiling it would cost too much.
    """
    matches("", pattern, Meter())


@functools.lru_cache(maxsize=256)
def _price(pattern: str) -> int:
    """Steps that compiling takes, with the repetitions written out.

    A count after a group multiplies everything, as if all groups were nested: too much rather than
    too little.
    """
    if len(pattern) > _MAX_PATTERN:
        raise ExpressionError(f"`matches` takes a pattern of at most {_MAX_PATTERN} characters")
    price = len(_CLASS.findall(pattern)) * _CLASS_STEPS + len(pattern) * _PLAIN_STEPS
    times = 1
    for repetition in _REPETITION.finditer(pattern):
        count = max(int(repetition[1]), int(repetition[2] or 0), 1)
        if pattern[: repetition.start()].endswith(")"):
            times *= count
        else:
            price += count * _CLASS_STEPS
    return 1 + times * price


@functools.cache
def _program() -> "Program":
    # At first use, because the package loads a command-line interface with it (0.2 to 0.4 s); the
    # native module alone cannot be loaded twice in one process, so it must come by its own name.
    from cel.cel import compile as compile_cel

    return compile_cel("text.matches(pattern)")
