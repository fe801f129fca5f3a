"""What an expression sees: `input`, `event`, `entity`, `steps`, `run`; in a loop `item`, `index`.

After the lanes of a batch it sees `batch`, the counters; inside one see `activities.lane`.

A run's input and a loop's items never change, so they are kept for the steps that follow.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

from pydantic import JsonValue

from activities.definitions import Prepared
from engine.call import StepCall
from engine.lifecycle import StepStatus
from store import batches, steps
from store.database import Database, Tx
from store.steps import RunFacts, StepRow
from store.values import decode

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """The values that were used last."""

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._values: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        """The value, if it is still here."""
        if key in self._values:
            self._values.move_to_end(key)
        return self._values.get(key)

    def put(self, key: K, value: V) -> None:
        """Keep the value, and let go of the one that was not used for longest."""
        self._values[key] = value
        if len(self._values) > self._kept:
            self._values.popitem(last=False)


class Scopes:
    """Builds the variables of expressions from the store."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._versions: Recent[str, tuple[str, int]] = Recent(2_000)
        self._inputs: Recent[str, JsonValue] = Recent(200)
        self._items: Recent[str, list[JsonValue]] = Recent(50)

    def pin(self, run_id: str, version: tuple[str, int]) -> None:
        """Remember what is known already, so that the first step need not ask."""
        self._versions.put(run_id, version)

    async def version_of(self, run_id: str) -> tuple[str, int] | None:
        """The workflow and the version that a run is pinned to; None when it was deleted."""
        known = self._versions.get(run_id)
        if known is None:
            facts = await self._database.read(lambda tx: steps.run_facts(tx, run_id))
            if facts is None:
                return None
            known = (facts.workflow_id, facts.version)
            self._versions.put(run_id, known)
        return known

    async def build(
        self,
        call: StepCall,
        run: RunFacts,
        prepared: Prepared,
        rows: Mapping[str, StepRow],
    ) -> dict[str, JsonValue]:
        """The variables of a step, from the rows of the steps that it refers to."""
        large = [
            (step_id, place)
            for step_id, place in prepared.places(call.iteration).items()
            if step_id in rows and not rows[step_id].output_inline
        ]
        known_input = self._inputs.get(call.run) if prepared.reads_input else {}
        items_key = f"{call.run}/{prepared.loops[-1:]}/{call.iteration[:-1]}/{call.generation}"
        known_items = self._items.get(items_key) if prepared.loops else []

        def fetch(tx: Tx) -> tuple[JsonValue, list[JsonValue], dict[str, JsonValue]]:
            data = steps.run_input(tx, call.run) if known_input is None else known_input
            items = known_items
            if items is None:
                place = ".".join(map(str, call.iteration[:-1]))
                items = steps.items(tx, call.run, prepared.loops[-1], place)
            return data, items, load(tx, call.run, large)

        if known_input is None or known_items is None or large:
            data, items, loaded = await self._database.read(fetch)
            if prepared.reads_input:
                self._inputs.put(call.run, data)
            if prepared.loops:
                self._items.put(items_key, items)
        else:
            data, items, loaded = known_input, known_items, {}
        scope: dict[str, JsonValue] = {
            "input": data,
            "run": describe(call.run, run),
            **happened(run, data),
            "steps": {
                step_id: see(rows.get(step_id), loaded.get(step_id)) for step_id in prepared.needs
            },
        }
        if run.lanes is not None:
            batch = await self._database.read(lambda tx: batches.get(tx, call.run))
            scope["batch"] = batch.counters if batch is not None else None
        if prepared.loops:
            index = call.iteration[-1]
            scope["index"] = index
            scope["item"] = items[index] if index < len(items) else None
        return scope


def load(tx: Tx, run_id: str, places: Iterable[tuple[str, str]]) -> dict[str, JsonValue]:
    """The outputs that are too large for their rows."""
    return {
        step_id: decode(steps.output(tx, run_id, step_id, place).decode())
        for step_id, place in places
    }


def see(row: StepRow | None, large: JsonValue = None) -> JsonValue:
    """A step as expressions see it: `status`, `output` and `error`, each null until there is one.

    `error` is `{"code", "message"}` of a step that has failed.
    """
    if row is None:
        return {"status": "pending", "output": None, "error": None}
    return {
        "status": str(row.status),
        "output": row.output if row.output_inline else large,
        "error": row.error if row.status is StepStatus.FAILED else None,
    }


def happened(run: RunFacts, data: JsonValue) -> dict[str, JsonValue]:
    """The variables `event` and `entity`, both null unless an event has started the run.

    They are in its input; what anybody else has put there under these names is none of them.
    """
    told = data if run.event_id is not None and isinstance(data, dict) else {}
    return {"event": told.get("event"), "entity": told.get("entity")}


def describe(run_id: str, run: RunFacts) -> dict[str, JsonValue]:
    """The `run` variable; times are seconds since 1970."""
    return {
        "id": f"run_{run_id}",
        "workflow_id": f"wf_{run.workflow_id}",
        "workflow_name": run.workflow_name,
        "version": run.version,
        "trigger": run.trigger,
        "execution": run.n,
        "created_at": run.created_at // 1_000_000,
    }
