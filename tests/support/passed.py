"""Skip tests that passed in earlier runs under the same conditions. `TESTS_PASSED` names the file of them.

Each run adds the tests that passed, and their conditions: the database, the results storage, and whether they
tried few examples or all. Conditions that a test doesn't depend on are "any". Tests that passed under other
conditions run again. The coverage of those that use the database isn't measured again, because that takes as
long as the tests. Tests of only the storage cover other code on each one.
"""

import os
from collections import defaultdict
from collections.abc import Generator
from pathlib import Path

import pytest
from django.core.files.storage import storages

from tests.support import databases, tools

_PATH = os.environ.get("TESTS_PASSED")
_BACKENDS = f"{databases.kind()} {os.environ.get('TEST_STORAGE') or 'folder'}"
_ANY_BACKENDS = "any any"
_EXAMPLES = "all" if tools.is_thorough() else "few"
_passed: dict[str, str] = {}  # the examples of each test
_files_with_backends: set[str] = set()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not _PATH or not Path(_PATH).exists():
        return
    earlier: dict[str, set[str]] = defaultdict(set)
    for line in Path(_PATH).read_text().splitlines():
        conditions, _, test = line.partition("\t")
        earlier[test].add(conditions)
    same = {
        f"{backends} {examples}" for backends in (_BACKENDS, _ANY_BACKENDS) for examples in (_EXAMPLES, "any")
    }
    done = {item for item in items if same & earlier[item.nodeid]}
    config.hook.pytest_deselected(items=list(done))
    items[:] = [item for item in items if item not in done]
    for item in items:
        if earlier[item.nodeid] and _has_database(item):
            item.add_marker("no_cover")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    tools.conditions_used.clear()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    try:
        return (yield)
    finally:
        item.user_properties += [("depends on", condition) for condition in sorted(_conditions_of(item))]


def _conditions_of(item: pytest.Item) -> set[str]:
    found = set(tools.conditions_used)
    if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
        found.add("examples")
    if _has_database(item) or "results" in vars(storages).get("_storages", ()):
        found.add("backends")
    return found


def _has_database(item: pytest.Item) -> bool:
    return bool(item.get_closest_marker("django_db")) or "db" in getattr(item, "fixturenames", ())


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call":
        conditions = {value for name, value in report.user_properties if name == "depends on"}
        if "backends" in conditions:
            _files_with_backends.add(_file_of(report.nodeid))
        if report.passed:
            _passed[report.nodeid] = _EXAMPLES if "examples" in conditions else "any"
    if report.failed:
        _passed.pop(report.nodeid, None)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _PATH and not hasattr(session.config, "workerinput"):
        add_passed(Path(_PATH))


def add_passed(path: Path) -> None:
    """Add the tests that passed to the file.

    If one test of a file uses a database or the results storage, a server that all of them share may use it.
    """
    with path.open("a") as file:
        for test, examples in sorted(_passed.items()):
            backends = _BACKENDS if _file_of(test) in _files_with_backends else _ANY_BACKENDS
            file.write(f"{backends} {examples}\t{test}\n")


def _file_of(test: str) -> str:
    return test.partition("::")[0]
