"""The functions that an expression may call: the table of these four modules is all there is.

`a.f(b)` is `f(a, b)`. `docs/reference/expressions.md` shows each function with an example that a
test runs.
"""

from engine.expressions import conversions, list_functions, number_functions, text_functions
from engine.expressions.registry import FUNCTIONS

__all__ = ["FUNCTIONS", "conversions", "list_functions", "number_functions", "text_functions"]
