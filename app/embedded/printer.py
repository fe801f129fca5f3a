"""The supervisor's one mouth: lines on standard output, marked with who says them.

Nobody may be reading: a full pipe must not stop the supervisor, nor the children whose output it
passes on. So a thread writes, and what it cannot write in time is dropped and counted.
"""

import os
import queue
import sys
import threading

#: Lines that may wait to be written.
_WAITING = 10_000


class Printer:
    """Writes lines in the order in which they were said."""

    def __init__(self, width: int = 8) -> None:
        self._width = width
        self._lines: queue.Queue[str | None] = queue.Queue(_WAITING)
        self._dropped = 0
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    def say(self, name: str, line: str) -> None:
        """Pass on what a child said."""
        self.line(f"{name:<{self._width}} | {line}")

    def line(self, text: str) -> None:
        """Say something of our own."""
        try:
            self._lines.put_nowait(text)
        except queue.Full:
            self._dropped += 1

    def close(self, timeout: float = 1) -> None:
        """Write what is left, if somebody reads it within so many seconds."""
        try:
            self._lines.put(None, timeout=timeout)
        except queue.Full:
            return
        self._thread.join(timeout)

    def _write(self) -> None:
        descriptor = sys.stdout.fileno()
        while (text := self._lines.get()) is not None:
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                text = f"({dropped} lines were dropped, because nobody read them)\n{text}"
            rest = f"{text}\n".encode(errors="replace")
            while rest:
                try:
                    # Not sys.stdout: its lock, held by a blocked write, would stop our exit.
                    rest = rest[os.write(descriptor, rest) :]
                except OSError:
                    # Whoever read has gone. The service goes on without a listener.
                    break
