"""The served API against its own OpenAPI document: what a fuzzer sends, and what comes back."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from store.keys import key_id
from tests.integration.service import Service

HERE = Path(__file__).parent
SCHEMATHESIS = str(Path(sys.executable).parent / "schemathesis")
#: Seconds of fuzzing, and how long the whole may take.
BUDGETS = {"coverage,fuzzing": 90, "stateful": 60}
PATIENCE = 600
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
    "use_after_free",
)


#: Paths that are fuzzed together, and operations that have to be let in.
PARTS = {
    "full engine": (
        "^/(?!api/v1/|v1/)",
        ("POST /api/workflows", "POST /api/workflows/{workflow_id}/run"),
    ),
    "by name and batches": ("^/(api/v1|v1)/", ("POST /v1/events", "POST /api/v1/workflows")),
}


@pytest.mark.slow
@pytest.mark.timeout(PATIENCE)
@pytest.mark.parametrize("part", PARTS)
async def test_a_fuzzer_finds_no_server_error_and_no_answer_that_is_not_declared(
    tmp_path: Path, part: str
) -> None:
    paths, let_in = PARTS[part]
    service = Service(tmp_path / "data")
    try:
        await service.start()
        key = (tmp_path / "data" / "api-key").read_text().strip()
        single = await fuzzed(service, key, paths, tmp_path, "coverage,fuzzing")
        assert single["operations"]["tested"] == single["operations"]["selected"] > 0
        assert single["test_cases"]["generated"] > 500
        # A fuzzer that never gets in has tested nothing but the door.
        for operation in let_in:
            accepted = [phase["accepted"] for phase in single["valid_rates"][operation].values()]
            assert sum(accepted) > 0, operation
        # Apart, so that it has its time however busy the machine is.
        linked = await fuzzed(service, key, paths, tmp_path, "stateful")
        assert linked["phases"]["stateful"]["status"] == "success"
        # Not with a key that it has revoked on its way.
        assert (await service.get("/api/workflows", key)).status_code == 200
    finally:
        await service.clean_up()


async def fuzzed(
    service: Service, key: str, paths: str, folder: Path, phases: str
) -> dict[str, Any]:
    """Fuzz in these phases, which finds nothing; the fuzzer's report."""
    report = folder / "report.json"
    process = await asyncio.create_subprocess_exec(
        SCHEMATHESIS,
        "--no-color",
        "run",
        f"{service.url}/openapi.json",
        f"--include-path-regex={paths}",
        f"--header=Authorization: Bearer {key}",
        f"--checks={','.join(CHECKS)}",
        f"--phases={phases}",
        f"--max-time={BUDGETS[phases]}",
        f"--report-json-path={report}",
        "--seed=20261125",
        # Python 3.11 parses in one thread at a time only, and hypothesis parses functions.
        "--workers=1",
        # A start may be asked to wait for the end of its run, for a minute.
        "--request-timeout=90",
        "--continue-on-failure",
        "--suppress-health-check=all",
        cwd=folder,
        env={
            **os.environ,
            "SCHEMATHESIS_HOOKS": "fuzz_hooks",
            "PYTHONPATH": str(HERE),
            "FUZZER_KEY_ID": key_id(key),
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(PATIENCE / 2 - 30):
        out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()[-20_000:]
    found: dict[str, Any] = json.loads(report.read_text())
    print(phases, found["operations"], found["test_cases"], found["phases"])
    return found
