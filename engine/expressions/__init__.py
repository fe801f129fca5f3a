"""The expression language of definitions: CEL in `{{ }}`. Evaluated in activities, never replayed.

    text ─ template ─ lexer ─ parser ─► syntax tree ─► static     what it needs, what is wrong
                                            │
                                            └─► compile ─► evaluate, render    under a budget

`docs/reference/expressions.md` is the user's page.
"""

from engine.expressions.errors import ExpressionError
from engine.expressions.evaluate import (
    boolean_problems,
    evaluate,
    expression_problems,
    expression_references,
    never_true,
)
from engine.expressions.partial import known_part, required_texts
from engine.expressions.render import problems, references, render
from engine.expressions.static import References

__all__ = [
    "ExpressionError",
    "References",
    "boolean_problems",
    "evaluate",
    "expression_problems",
    "expression_references",
    "known_part",
    "never_true",
    "problems",
    "references",
    "render",
    "required_texts",
]
