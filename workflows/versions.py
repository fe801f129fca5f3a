"""Numbered gates: every change of the interpreter that alters its commands has one here.

The interpreter asks `gate() >= NUMBER` where behaviour differs, and nowhere else. An execution
takes the newest number when it is first asked, and keeps it to its end: so there is a marker only
in histories that come to such a place. A number is never reused, and its reason stays. The first
one needs no marker: an execution that has passed such a place without one has it.
"""

from temporalio import workflow

#: The interpreter as it was first released.
FIRST = 1

#: A step that was cancelled while it was handed over is not begun again as an ordinary activity.
CANCELLED_IS_OVER = 2

#: What new executions take.
NEWEST = CANCELLED_IS_OVER


def gate() -> int:
    """The number that this execution has."""
    for number in range(NEWEST, FIRST, -1):
        if workflow.patched(f"interpreter-{number}"):
            return number
    return FIRST
