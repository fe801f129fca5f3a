"""Named places where a test lets the process die as `kill -9` would.

`SIGNALBOX_FAILPOINT=name` ends the process at the first visit of that place and `name:3` at the
third. Without the variable a visit costs one comparison.
"""

import os
from itertools import count

_NAME, _, _NTH = os.environ.get("SIGNALBOX_FAILPOINT", "").partition(":")
_visits = count(1)


def failpoint(name: str) -> None:
    """End the process at once, when this is the place and the visit that were asked for."""
    if name == _NAME and next(_visits) >= int(_NTH or 1):
        os._exit(137)
