"""How the time limit of pyproject.toml reaches tests that it would not end by itself."""

import pytest

ON_UVLOOP = pytest.mark.timeout(method="thread")
"""For tests that run uvloop: it gives what a signal raises to its exception handler and goes on.

Such a test ends the whole run, with the stacks of all threads.
"""
