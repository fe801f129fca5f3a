"""Numbered gates: every change of the interpreter that alters its commands has one here.

An execution takes the newest number when it begins and keeps it to its end; the interpreter asks
`gate() >= NUMBER` where behaviour differs. A number is never reused, and its reason stays. The
first one needs no marker in the history: an execution without a marker has it.
"""

from temporalio import workflow

#: The interpreter as it was first released.
FIRST = 1

#: What new executions take.
NEWEST = FIRST


def gate() -> int:
    """The number that this execution began with."""
    for number in range(NEWEST, FIRST, -1):
        if workflow.patched(f"interpreter-{number}"):
            return number
    return FIRST
