"""What goes wrong with an expression.

ExpressionError     the one that callers see; the message never holds data
├── Missing         a key, an index or a variable is not there; `has` and `default` absorb it
└── OverBudget      the work or the sizes exceed the limits; nothing absorbs it
"""

QUOTED = 200  # characters of an expression that a message may repeat


class ExpressionError(ValueError):
    """An expression does not parse or cannot be evaluated.

    Attributes:
        message: what is wrong, without the expression; it names keys and types, never values.
        expression: the source, at most 200 characters of it; empty while it is not known.
    """

    def __init__(self, message: str, expression: str = "") -> None:
        self.message = message
        self.expression = (
            expression if len(expression) <= QUOTED else expression[: QUOTED - 1] + "…"
        )
        super().__init__(f"{message}, in `{self.expression}`" if self.expression else message)

    def within(self, expression: str) -> "ExpressionError":
        """The same error for the caller, quoting `expression`; an error that quotes keeps its own.

        Always a plain `ExpressionError`: the kinds below are the evaluator's own business.
        """
        return ExpressionError(self.message, self.expression or expression)


class Missing(ExpressionError):
    """Something that was asked for is not there."""


class OverBudget(ExpressionError):
    """An evaluation would take too long or grow too big."""
