"""`signalbox demo` as a user sees it: what it shows, and that nothing of it is left."""

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from app.demo.receiver import Delivery, Receiver
from app.demo.service import Service
from engine.errors import Unavailable
from tests.integration.service import PATIENCE, SIGNALBOX

#: Settings of a deployment that does not answer: the demonstration must not look at them.
ELSEWHERE = {
    "DATABASE_URL": "postgresql://nobody@127.0.0.1:9/nothing",
    "TEMPORAL_ADDRESS": "127.0.0.1:9",
    "SIGNALBOX_EGRESS_ALLOW": "nonsense!",
    "WORKFLOW_MAX_CONCURRENT_RUNS": "0",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "ALL_PROXY": "http://127.0.0.1:9",
}


class Shown:
    """One demonstration: its lines, and every process that it was seen to have."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.lines: list[str] = []
        self.family: set[psutil.Process] = set()
        self.process = process

    async def until(self, text: str = "") -> None:
        """Read up to the first line that holds the text, or to the end."""
        assert self.process.stdout is not None
        async with asyncio.timeout(2 * PATIENCE):
            async for line in self.process.stdout:
                self.lines.append(line.decode().rstrip())
                with contextlib.suppress(psutil.NoSuchProcess):
                    family = psutil.Process(self.process.pid).children(recursive=True)
                    self.family.update(family)
                if text and text in self.lines[-1]:
                    return
        assert not text, f"no {text!r} in {self.lines}"

    def alive(self) -> list[psutil.Process]:
        """Processes of it that still run."""
        return [process for process in self.family if process.is_running()]


@contextlib.asynccontextmanager
async def _demo(directory: Path, *which: str) -> AsyncIterator[Shown]:
    process = await asyncio.create_subprocess_exec(
        SIGNALBOX,
        "demo",
        *which,
        env={**os.environ, **ELSEWHERE, "TMPDIR": str(directory)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield Shown(process)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


@pytest.mark.timeout(180)
async def test_a_run_survives_the_kill_of_its_worker(tmp_path: Path) -> None:
    async with _demo(tmp_path) as shown:
        await shown.until()
        assert await shown.process.wait() == 0, "\n".join(shown.lines)
    text = "\n".join(shown.lines)

    first = _found(r"its worker is process (\d+)$", text)
    second = _found(r"has started another worker, process (\d+)$", text)
    assert first != second
    assert {int(first), int(second)} <= {process.pid for process in shown.family}
    assert f"kill -9 {first}, the worker" in text

    run = _found(r"/run: started run_([0-9a-f]{32})$", text)
    fetched, told = f"{run}/fetch/-/1", f"{run}/notify/-/1"
    assert re.findall(r"receiver +(.*, Idempotency-Key: .*)$", text, re.MULTILINE) == [
        f"GET /data, Idempotency-Key: {fetched}",
        f"GET /data, Idempotency-Key: {fetched}",
        f"POST /notify, Idempotency-Key: {told}",
    ]
    told_by_stream = re.findall(r"stream +(.*)$", text, re.MULTILINE)
    body = '{"status_code": 200, "body": {"title": "Quarterly figures", "rows": 3}}'
    assert told_by_stream[:2] == ["run_queued", "run_started"]
    assert f"step_completed fetch output={body}" in told_by_stream
    assert told_by_stream[-1] == 'run_completed status="completed"'

    rows = [re.split(r" *[│|] *", line)[1:-1] for line in shown.lines if line[:1] in "│|"]
    assert [row[:3] for row in rows if len(row) == 5] == [
        ["fetch", "completed", "1"],
        ["notify", "completed", "1"],
    ]
    assert [row[4] for row in rows if len(row) == 5] == [body, '{"status_code": 200}']
    assert [row for row in rows if len(row) == 4] == [
        ["GET /data", fetched, "no", ""],
        ["GET /data", fetched, "yes", ""],
        ["POST /notify", told, "yes", '{"text": "Fetched Quarterly figures"}'],
    ]
    assert text.count("demo      true: ") == 3

    assert shown.alive() == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_forty_vendors_are_asked(tmp_path: Path) -> None:
    async with _demo(tmp_path, "sweep") as shown:
        await shown.until()
        assert await shown.process.wait() == 0, "\n".join(shown.lines)
    text = "\n".join(shown.lines)
    started = re.findall(r"/run: (cbwr_[0-9a-f]{32}) \((.*)\)$", text, re.MULTILINE)
    assert [how for _, how in started] == ["started", "replayed: true"]
    assert len({run for run, _ in started}) == 1
    assert "40 questionnaires have arrived" in text
    assert text.count("demo      true: ") == 5
    assert shown.alive() == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "number", "status"),
    [
        ("GET /data, Idempotency-Key", signal.SIGINT, 0),
        ("starts on a temporary directory", signal.SIGTERM, 128 + signal.SIGTERM),
    ],
)
async def test_a_signal_leaves_nothing_behind(
    tmp_path: Path, text: str, number: signal.Signals, status: int
) -> None:
    async with _demo(tmp_path) as shown:
        await shown.until(text)
        assert len(list(tmp_path.iterdir())) == 1
        shown.process.send_signal(number)
        await shown.until()
        assert await shown.process.wait() == status
    assert "interrupted; " in shown.lines[-1]
    assert shown.alive() == []
    assert list(tmp_path.iterdir()) == []


async def test_a_service_that_does_not_start_says_why(tmp_path: Path) -> None:
    service = Service(tmp_path)
    with pytest.raises(Unavailable, match=r"cannot listen on 203\.0\.113\.1 port 0"):
        await service.start({"SIGNALBOX_HOST": "203.0.113.1"})
    await service.stop()


async def test_the_receiver_sees_who_does_not_wait_for_the_answer() -> None:
    said: list[tuple[str, bool | None]] = []

    def tell(delivery: Delivery) -> None:
        said.append((delivery.request, delivery.answered))

    async with Receiver({"GET /a": {"n": 1}}, {"GET /b": 600}, tell) as receiver:
        reader, writer = await asyncio.open_connection("127.0.0.1", receiver.port)
        writer.write(b"GET /a HTTP/1.1\r\nIdempotency-Key: k\r\n\r\n")
        assert (await reader.read()).endswith(b'\r\n\r\n{"n": 1}')
        writer.close()

        _, writer = await asyncio.open_connection("127.0.0.1", receiver.port)
        writer.write(b"GET /b HTTP/1.1\r\n\r\n")
        async with asyncio.timeout(PATIENCE):
            while ("GET /b", None) not in said:
                await asyncio.sleep(0.02)
            writer.close()
            while len(said) < 4:
                await asyncio.sleep(0.02)
    assert said == [("GET /a", None), ("GET /a", True), ("GET /b", None), ("GET /b", False)]
    assert [delivery.key for delivery in receiver.deliveries] == ["k", ""]


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text, re.MULTILINE)
    assert match is not None, f"no {pattern} in:\n{text}"
    return match[1]
