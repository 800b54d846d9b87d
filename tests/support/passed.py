"""Skip tests that passed in earlier runs. `TESTS_PASSED` names the file that lists them.

Each run adds the tests that passed.
"""

import os
from pathlib import Path

import pytest

_PATH = os.environ.get("TESTS_PASSED")
_passed: set[str] = set()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if _PATH and Path(_PATH).exists():
        before = set(Path(_PATH).read_text().splitlines())
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid in before])
        items[:] = [item for item in items if item.nodeid not in before]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" and report.passed:
        _passed.add(report.nodeid)
    elif report.failed:
        _passed.discard(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _PATH and not hasattr(session.config, "workerinput"):
        with Path(_PATH).open("a") as file:
            file.writelines(f"{test}\n" for test in sorted(_passed))
