"""What the API has to know of versions to start their runs and to show them.

It is asked for at every turn, and a version never changes, so it is kept.
"""

from dataclasses import dataclass
from typing import Any

from engine.catalog import Catalog
from engine.outline import Outline, outline
from store import workflows
from store.database import Tx

#: Versions that are remembered.
_ROOM = 1_024


@dataclass(frozen=True)
class Version:
    """A version of a workflow.

    Attributes:
        input_schema: what the input of its runs has to fit.
        entity_type: the id of the type whose entities its runs are for.
    """

    steps: tuple[Outline, ...]
    input_schema: dict[str, Any] | None
    entity_type: str | None = None


class Versions:
    """The versions of this process."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._known: dict[tuple[str, int], Version] = {}

    def get(self, tx: Tx, workflow_id: str, version: int) -> Version:
        """The version, from memory or from the store.

        Raises:
            NotFound: the workflow has no such version.
        """
        key = (workflow_id, version)
        known = self._known.get(key)
        if known is None:
            definition: dict[str, Any] = workflows.version(tx, *key).definition
            steps = outline(definition["steps"], self._catalog)
            known = Version(steps, definition.get("input_schema"), definition.get("entity_type"))
            if len(self._known) >= _ROOM:
                self._known.clear()
            self._known[key] = known
        return known
