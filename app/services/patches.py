"""Changes of parts of a workflow, made to whatever it says by then."""

import asyncio
from collections.abc import Callable
from typing import Any

from app.services.auth import Caller
from app.services.workflows import Edit, Workflows
from engine import diff
from engine.errors import Conflict, Stale
from engine.lifecycle import DefinitionStatus

#: How often a change is made anew because somebody else has changed the workflow meanwhile.
_TRIES = 5


async def patch(
    workflows: Workflows,
    caller: Caller,
    workflow_id: str,
    edited: Callable[[dict[str, Any]], dict[str, Any]],
    status: DefinitionStatus | None,
) -> None:
    """Give the workflow a next version, unless it would be like the last one, and then a status.

    Args:
        workflows: where it is kept.
        caller: whose workflow it is.
        workflow_id: the workflow.
        edited: makes the next definition of the last one, which it leaves as it is. It is asked
            again when somebody else was quicker.
        status: what the workflow may do; None for what it does.

    Raises:
        NotFound: there is no such workflow.
        Invalid: the next definition is not valid; the status stays, too.
        Conflict: others change the workflow all the time, or as in `Workflows.revise`.
    """
    for _ in range(_TRIES):
        row, before = await workflows.get(caller, workflow_id)
        after = edited(before)
        if diff.same(before, after):
            break
        # Only of what is valid it can be said what has changed.
        await workflows.valid(caller, after, None, None)
        edit = Edit(after, await asyncio.to_thread(diff.summary, before, after))
        try:
            await workflows.revise(caller, workflow_id, edit, [row.revision])
        except Stale:
            continue
        break
    else:
        raise Conflict("The workflow is changed by others at the same time. Try again.")
    if status is not None:
        await workflows.set_status(caller, workflow_id, status)
