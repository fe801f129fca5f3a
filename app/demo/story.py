"""The demonstration from its beginning to its end.

All that it needs is made here and removed again: whether it is over, has failed or was ended by a
signal, the service is stopped in order before its directory goes.
"""

import asyncio
import signal
import tempfile
from pathlib import Path
from typing import Literal

import httpx2

from app.demo.scenes import Scenes
from app.demo.screen import Screen
from app.demo.sweep import Sweep
from engine.errors import Unavailable

#: What can be shown.
Which = Literal["kill", "sweep"]
_SHOWN: dict[Which, type[Scenes | Sweep]] = {"kill": Scenes, "sweep": Sweep}
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def demo(which: Which) -> int:
    """Show it, and leave no process and no file behind. Answers the exit status.

    0 means that all was as promised, or that a Ctrl-C ended it.

    Raises:
        Unavailable: the service does not start or does not answer.
    """
    try:
        return asyncio.run(_until_asked(_SHOWN[which]))
    except httpx2.HTTPError as error:
        raise Unavailable(f"the service did not answer: {error}") from error
    except TimeoutError as error:
        raise Unavailable("the run was not over in time") from error


async def _until_asked(shown: type[Scenes | Sweep]) -> int:
    """Show it; the first signal ends it in order, the second one at once."""
    asked: list[int] = []
    with Screen() as screen, tempfile.TemporaryDirectory(prefix="signalbox-demo-") as directory:
        scenes = shown(screen, Path(directory))
        async with scenes.receiver:
            showing = asyncio.create_task(scenes.show())

            def ask(number: int) -> None:
                if asked:
                    scenes.service.hurry()
                asked.append(number)
                showing.cancel()

            for number in _SIGNALS:
                # `nohup` has a closed terminal ignored.
                if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                    asyncio.get_running_loop().add_signal_handler(number, ask, number)
            try:
                await asyncio.wait([showing])
            finally:
                showing.cancel()
                screen.undraw()
                await scenes.service.stop()
    ended = "interrupted; " if showing.cancelled() else ""
    screen.say("demo", f"{ended}the service has been stopped and its directory removed")
    if showing.cancelled():
        return 0 if asked[0] == signal.SIGINT else 128 + asked[0]
    return showing.result()
