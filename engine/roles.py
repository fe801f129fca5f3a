"""What a key may do: a ladder on which every role may do all that the roles below it may.

viewer (reads) < runner (starts runs, publishes events) < operator (cancels, pauses, resumes,
terminates and deletes runs) < editor (workflows, schedules, entities, secrets) < admin (keys,
organisations, audit). Source: DESIGN §8.
"""

from enum import StrEnum


class Role(StrEnum):
    """A rung of the ladder, lowest first."""

    VIEWER = "viewer"
    RUNNER = "runner"
    OPERATOR = "operator"
    EDITOR = "editor"
    ADMIN = "admin"

    def allows(self, other: "Role") -> bool:
        """Whether a key of this role may do what takes the other role.

        >>> Role.OPERATOR.allows(Role.RUNNER), Role.OPERATOR.allows(Role.EDITOR)
        (True, False)
        """
        ladder = tuple(Role)
        return ladder.index(self) >= ladder.index(other)
