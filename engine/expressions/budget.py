"""The limits of an expression, and the meter that enforces those of an evaluation.

One step is about the work of one operator (0.1 to 0.5 µs). Work that depends on data pays by its
size, before it is done wherever the size is known before, so that no single operation can overrun.
"""

from pydantic import JsonValue

from engine.expressions.errors import ExpressionError, OverBudget

MAX_LENGTH = 2048  # characters of one expression
MAX_DEPTH = 50  # nodes inside one another
MAX_NESTED_LOOPS = 2  # `map` and its like inside one another
MAX_STEPS = 500_000  # of one evaluation, or of one template with all its placeholders
MAX_OUTPUT_BYTES = 8 * 1024 * 1024  # of a result as compact JSON
MAX_OUTPUT_VALUES = 1_000_000  # numbers, texts, lists, objects in a result
CHARACTERS_PER_STEP = 16  # of text that is built or parsed


class Meter:
    """Counts the steps of one evaluation down; shared by the placeholders of one template."""

    __slots__ = ("left", "steps")

    def __init__(self, steps: int = MAX_STEPS) -> None:
        self.left = self.steps = steps

    def spend(self, steps: int) -> None:
        """Pay for work.

        Raises:
            OverBudget: there is not that much left; nothing more can be paid for then.
        """
        self.left -= steps
        if self.left < 0:
            raise OverBudget(f"this needs more than {self.steps:,} steps of work")

    def build_text(self, characters: int) -> None:
        """Pay for a text of so many characters."""
        self.spend(1 + characters // CHARACTERS_PER_STEP)

    def weigh(self, value: JsonValue) -> None:
        """Pay for a walk through all of a value (one value inside another counts each time)."""
        waiting = [value]
        while waiting:
            node = waiting.pop()
            if isinstance(node, str):
                self.build_text(len(node))
            elif isinstance(node, list):
                self.spend(1 + len(node))
                waiting.extend(node)
            elif isinstance(node, dict):
                self.spend(1 + 2 * len(node))
                for key in node:
                    self.build_text(len(key))
                waiting.extend(node.values())
            else:
                self.spend(1)


def check_output(value: JsonValue) -> None:
    """Refuse a result that is too big; the walk stops as soon as that is known.

    Bytes are counted as UTF-8 JSON without escapes: exact enough for a limit.

    Raises:
        OverBudget: over 8 MiB or a million values, counting shared parts each time.
    """
    waiting = [value]
    size = count = 0
    while waiting:
        node = waiting.pop()
        if isinstance(node, str):
            size += 2 + _utf8_length(node)
        elif isinstance(node, list):
            size += 2 + len(node)
            count += len(node)
            waiting.extend(node if count <= MAX_OUTPUT_VALUES else ())
        elif isinstance(node, dict):
            size += 2 + sum(4 + _utf8_length(key) for key in node)
            count += len(node)
            waiting.extend(node.values() if count <= MAX_OUTPUT_VALUES else ())
        else:
            size += 4
        if size > MAX_OUTPUT_BYTES or count > MAX_OUTPUT_VALUES:
            raise OverBudget(
                f"the result is over {MAX_OUTPUT_BYTES // 2**20} MiB"
                f" or {MAX_OUTPUT_VALUES:,} values"
            )


def _utf8_length(text: str) -> int:
    if text.isascii() or len(text) > MAX_OUTPUT_BYTES:
        return len(text)
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise ExpressionError("a text holds half of a surrogate pair") from None
