"""Which steps are over before a step starts."""

from engine.validation.sketch import Scope


class Upstream:
    """All that comes before each step, directly or not; also right where there are cycles."""

    def __init__(self, scope: Scope) -> None:
        before = _order(scope)
        self._bit = {step_id: 1 << index for index, step_id in enumerate(before)}
        self._masks = dict.fromkeys(before, 0)
        steps = _earliest_first(before)
        changed = True
        while changed:
            changed = False
            for step_id in steps:
                mask = 0
                for other in before[step_id]:
                    mask |= self._masks[other] | self._bit[other]
                changed |= mask != self._masks[step_id]
                self._masks[step_id] = mask

    def holds(self, step_id: str, other: str) -> bool:
        """Whether `other` comes before the step of that id."""
        return bool(self._masks.get(step_id, 0) & self._bit[other])


def _earliest_first(before: dict[str, set[str]]) -> list[str]:
    """The steps in an order in which, cycles aside, each follows all that come before it."""
    done: dict[str, None] = {}
    started: set[str] = set()
    for root in before:
        todo = [root]
        while todo:
            step_id = todo[-1]
            waiting = [other for other in before[step_id] if other not in started]
            if step_id in started or not waiting:
                todo.pop()
                done[step_id] = None
            if step_id not in started:
                todo += waiting
            started.add(step_id)
    return list(done)


def _order(scope: Scope) -> dict[str, set[str]]:
    """For each step the ids of those that come right before it, in the same list of steps."""
    before: dict[str, set[str]] = {step_id: set() for step_id in scope.by_id}
    for step in scope.by_id.values():
        before[step.id].update(other for other in step.depends_on if other in before)
        for target in [*step.branch_targets, *step.rescuers]:
            if target in before:
                before[target].add(step.id)
    return before
