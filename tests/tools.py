"""Programs from outside that tests use, and where the tests run."""

import os
import shutil
import time
from collections.abc import Callable

import pytest


def in_ci() -> bool:
    """Whether these are the full tests."""
    return os.environ.get("CI") == "true"


def examples(count: int) -> int:
    """Return how many examples hypothesis tries: in CI as many as these, elsewhere a quarter."""
    return count if in_ci() else count // 4


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return how much of a processor some work takes: what else the machine does counts for little."""
    began = time.process_time()
    work()
    return time.process_time() - began


def needs(program: str) -> str:
    """Return where a program is; without it the test is skipped, which conftest.py fails in CI."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed")
    return path
