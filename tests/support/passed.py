"""Do less for tests that passed in earlier runs. `TESTS_PASSED` names the file that lists them.

On the database and results storage on which they passed, they are skipped. On others they run again, but
their coverage isn't measured again, which would take half of the time. Each run adds the tests that passed.
"""

import os
from pathlib import Path

import pytest

from tests.support import databases

_PATH = os.environ.get("TESTS_PASSED")
_BACKENDS = f"{databases.kind()} {os.environ.get('TEST_STORAGE') or 'folder'}"
_passed: set[str] = set()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not _PATH or not Path(_PATH).exists():
        return
    earlier: dict[str, set[str]] = {}
    for line in Path(_PATH).read_text().splitlines():
        backends, _, test = line.partition("\t")
        earlier.setdefault(test, set()).add(backends)
    done = {item for item in items if _BACKENDS in earlier.get(item.nodeid, ())}
    config.hook.pytest_deselected(items=list(done))
    items[:] = [item for item in items if item not in done]
    for item in items:
        if item.nodeid in earlier:
            item.add_marker("no_cover")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" and report.passed:
        _passed.add(report.nodeid)
    elif report.failed:
        _passed.discard(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _PATH and not hasattr(session.config, "workerinput"):
        add_passed(Path(_PATH))


def add_passed(path: Path) -> None:
    """Add the tests that passed to the file."""
    with path.open("a") as file:
        file.writelines(f"{_BACKENDS}\t{test}\n" for test in sorted(_passed))
