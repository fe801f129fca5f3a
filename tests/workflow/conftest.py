"""What the tests of this folder need besides the real things."""

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Let a cancel that comes just after its activity has ended be what it is: nothing.

    The SDK warns of it from inside of its worker, where a warning that is an error ends the worker.
    """
    config.addinivalue_line("filterwarnings", "ignore:Cannot find activity to cancel:UserWarning")
