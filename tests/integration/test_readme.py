"""The README's quickstart, typed in as it stands there."""

import re
import subprocess
from pathlib import Path

from tests.integration.site import KEY, Site

URL = "http://127.0.0.1:8000"
README = Path(__file__).parents[2] / "README.md"


def blocks() -> tuple[str, str]:
    """The commands of the quickstart as one script, and what it says that they print."""
    found = re.findall(r"```(sh|text)\n(.*?)```", README.read_text(), re.DOTALL)
    script = "".join(text for kind, text in found if kind == "sh")
    return script, "".join(text for kind, text in found if kind == "text")


def plain(text: str) -> list[str]:
    """Lines without what is different every time."""
    return re.sub(r"\b(wf|run)_[0-9a-f]{32}", r"\1_…", text).split()


async def test_the_quickstart_prints_what_it_says(tmp_path: Path) -> None:
    script, printed = blocks()
    assert script.count(URL) == 1
    async with Site(tmp_path / ".signalbox") as site:
        (tmp_path / ".signalbox" / "api-key").write_text(KEY)
        script = script.replace(URL, f"http://127.0.0.1:{site.port}")
        done = subprocess.run(
            ["sh", "-e", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=90
        )
    assert done.returncode == 0, done.stderr
    assert plain(done.stdout) == plain(printed)
