from pathlib import Path

import pytest

from collections_app.files.storage.base import results
from tests.support import passed
from tests.support.server import environment
from tests.support.tools import is_thorough

ADDED = "tests/test_a.py::test_added"
OTHER = "tests/test_a.py::test_other"


@pytest.fixture(autouse=True)
def path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The file of earlier runs."""
    path = tmp_path / "passed"
    monkeypatch.setattr(passed, "_PATH", path)
    monkeypatch.setattr(passed, "_BACKENDS", "sqlite folder")
    monkeypatch.setattr(passed, "_EXAMPLES", "few")
    monkeypatch.setattr(passed, "_passed", {})
    monkeypatch.setattr(passed, "_files_with_backends", set())
    return path


def selected(request: pytest.FixtureRequest) -> list[pytest.Item]:
    """Return this test, if it isn't skipped."""
    items: list[pytest.Item] = [request.node]
    passed.pytest_collection_modifyitems(request.config, items)
    return items


def test_without_earlier_runs_all_tests_run(request: pytest.FixtureRequest) -> None:
    assert selected(request) == [request.node]


@pytest.mark.parametrize(
    "conditions", ["sqlite folder few", "sqlite folder any", "any any few", "any any any"]
)
def test_a_test_that_has_passed_under_these_conditions_is_skipped(
    request: pytest.FixtureRequest, path: Path, conditions: str
) -> None:
    path.write_text(f"postgresql s3 all\t{request.node.nodeid}\n{conditions}\t{request.node.nodeid}\n")
    assert selected(request) == []


@pytest.mark.parametrize(
    "conditions", ["postgresql s3 few", "sqlite s3 any", "sqlite folder all", "any any all"]
)
def test_under_other_conditions_it_runs_again(
    request: pytest.FixtureRequest, path: Path, conditions: str
) -> None:
    path.write_text(f"{conditions}\t{request.node.nodeid}\n")
    assert selected(request) == [request.node]
    assert not request.node.get_closest_marker("no_cover")


def test_the_coverage_of_tests_with_a_database_is_measured_once(
    db: None, request: pytest.FixtureRequest, path: Path
) -> None:
    path.write_text(f"postgresql s3 all\t{request.node.nodeid}\n")
    assert selected(request) == [request.node]
    assert request.node.get_closest_marker("no_cover")


def report(when: str, outcome: str, *depends_on: str, test: str = ADDED) -> None:
    reported = pytest.TestReport(test, ("", 0, ""), {}, outcome, None, when)  # type: ignore[arg-type]
    reported.user_properties = [("depends on", condition) for condition in depends_on]
    passed.pytest_runtest_logreport(reported)


@pytest.mark.parametrize(
    ("call", "teardown", "is_added"),
    [
        ("passed", "passed", True),
        ("passed", "failed", False),
        ("failed", "passed", False),
        ("skipped", "passed", False),
    ],
)
def test_only_tests_that_pass_are_added(call: str, teardown: str, is_added: bool) -> None:  # noqa: FBT001
    report("setup", "passed")
    report("call", call)
    report("teardown", teardown)
    assert (ADDED in passed._passed) is is_added


def added(path: Path) -> list[str]:
    passed.add_passed(path)
    return path.read_text().splitlines()


def test_a_test_without_conditions_needs_to_pass_once(path: Path) -> None:
    report("call", "passed")
    assert added(path) == [f"any any any\t{ADDED}"]


def test_a_test_that_tries_more_examples_in_test_all_runs_again_there(path: Path) -> None:
    report("call", "passed", "examples")
    assert added(path) == [f"any any few\t{ADDED}"]


def test_a_file_that_uses_a_database_or_storage_runs_on_each_of_them(path: Path) -> None:
    report("call", "passed")
    report("call", "failed", "backends", test=OTHER)
    assert added(path) == [f"sqlite folder any\t{ADDED}"]


def test_the_database_is_a_condition(db: None, request: pytest.FixtureRequest) -> None:
    assert "backends" in passed._conditions_of(request.node)


def test_the_database_of_a_process_is_a_condition(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    assert "backends" not in passed._conditions_of(request.node)
    environment(tmp_path)
    assert "backends" in passed._conditions_of(request.node)


def test_the_results_storage_is_a_condition(request: pytest.FixtureRequest) -> None:
    assert "backends" not in passed._conditions_of(request.node)
    results()
    assert "backends" in passed._conditions_of(request.node)


def test_the_number_of_examples_is_a_condition(request: pytest.FixtureRequest) -> None:
    assert "examples" not in passed._conditions_of(request.node)
    is_thorough()
    assert "examples" in passed._conditions_of(request.node)
