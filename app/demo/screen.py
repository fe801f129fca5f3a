"""What the demonstration shows: lines, and in a terminal the run drawn live below them.

Without a terminal the same is said by the lines alone, so nothing is lost in a pipe or a log.
"""

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from pydantic import JsonValue
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

#: Columns of what is written to a pipe: the widest table.
_WIDTH = 120
#: How often a second the run is drawn.
_DRAWN = 8
_COLOURS = {
    "pending": "dim",
    "running": "yellow",
    "completed": "green",
    "failed": "red",
    "skipped": "dim",
    "cancelled": "red",
}


@dataclass
class _Step:
    status: str = "pending"
    deliveries: int = 0
    since: float | None = None
    until: float | None = None

    @property
    def seconds(self) -> str:
        if self.since is None:
            return ""
        return f"{(self.until or time.monotonic()) - self.since:.1f}"


class Screen:
    """Where everything is shown; draws the run from `async with` on, once it knows its steps."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._terminal = self._console.is_terminal and not self._console.is_dumb_terminal
        if not self._terminal:
            self._console.width = _WIDTH
        self._began = time.monotonic()
        self._steps: dict[str, _Step] = {}
        self._worker = Text()
        self._live = Live(
            console=self._console,
            get_renderable=self._drawn,
            refresh_per_second=_DRAWN,
            transient=True,
        )

    def __enter__(self) -> Self:
        if self._terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._live.stop()

    def say(self, who: str, text: str, style: str = "") -> None:
        """Say a line, with the seconds since the beginning."""
        clock = f"{time.monotonic() - self._began:5.1f} s"
        self._console.print(
            Text.assemble((clock, "dim"), f"  {who:<9} ", (text, style)), soft_wrap=True
        )

    def steps(self, ids: Iterable[str]) -> None:
        """Draw these steps from now on."""
        self._steps = {step: _Step() for step in ids}

    def step(self, step_id: str, status: str) -> None:
        """A step has got another status."""
        step = self._steps[step_id]
        step.status = status
        if status == "running":
            step.since, step.until = step.since or time.monotonic(), None
        else:
            step.until = time.monotonic()

    def delivered(self, step_id: str) -> None:
        """A request of a step has arrived at its receiver."""
        self._steps[step_id].deliveries += 1

    def worker(self, text: str, style: str) -> None:
        """Say next to the run how its worker is."""
        self._worker = Text(text, style)

    def undraw(self) -> None:
        """Draw no longer; lines may still be said."""
        self._live.stop()

    def table(self, title: str, names: Iterable[str], rows: Iterable[Iterable[JsonValue]]) -> None:
        """Show a table; what is no text is shown as JSON."""
        table = Table(title=title, title_justify="left", title_style="bold")
        for name in names:
            table.add_column(name, overflow="fold")
        for row in rows:
            table.add_row(*(_cell(value) for value in row))
        self._console.print()
        self._console.print(table)

    def _drawn(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for step_id, step in self._steps.items():
            table.add_row(
                Text(f"  {step_id}", "bold"),
                Text(step.status, _COLOURS[step.status]),
                step.seconds and f"{step.seconds} s",
                f"{step.deliveries} deliveries" if step.deliveries != 1 else "1 delivery",
            )
        if self._worker:
            table.add_row(Text("  worker", "bold"), self._worker)
        return table


def _cell(value: JsonValue) -> Text:
    if isinstance(value, str):
        return Text(value, _COLOURS.get(value, ""))
    return Text("" if value is None else json.dumps(value))
