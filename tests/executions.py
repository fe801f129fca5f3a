"""How tests name an execution of a run that was started by hand."""

from engine.book import execution_id
from store.places import Execution


def execution(run: str, n: int) -> Execution:
    return Execution(run, n, execution_id(run, n))
