from pathlib import Path

import pytest

from tests.support import passed

ADDED = "tests/test_a.py::test_added"


@pytest.fixture(autouse=True)
def path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The file of earlier runs."""
    path = tmp_path / "passed"
    monkeypatch.setattr(passed, "_PATH", path)
    monkeypatch.setattr(passed, "_BACKENDS", "sqlite folder")
    monkeypatch.setattr(passed, "_passed", set())
    return path


def selected(request: pytest.FixtureRequest) -> list[pytest.Item]:
    """Return this test, if it isn't skipped."""
    items: list[pytest.Item] = [request.node]
    passed.pytest_collection_modifyitems(request.config, items)
    return items


def test_without_earlier_runs_all_tests_run(request: pytest.FixtureRequest) -> None:
    assert selected(request) == [request.node]


def test_a_test_that_has_passed_is_skipped(request: pytest.FixtureRequest, path: Path) -> None:
    path.write_text(f"postgresql s3\t{request.node.nodeid}\nsqlite folder\t{request.node.nodeid}\n")
    assert selected(request) == []


def test_on_another_database_it_runs_again_without_coverage(
    request: pytest.FixtureRequest, path: Path
) -> None:
    path.write_text(f"postgresql s3\t{request.node.nodeid}\n")
    assert selected(request) == [request.node]
    assert request.node.get_closest_marker("no_cover")


def report(when: str, outcome: str) -> None:
    passed.pytest_runtest_logreport(
        pytest.TestReport(ADDED, ("", 0, ""), {}, outcome, None, when)  # type: ignore[arg-type]
    )


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


def test_each_run_adds_the_tests_that_passed_with_their_database_and_storage(path: Path) -> None:
    path.write_text("postgresql s3\ttests/test_a.py::test_before\n")
    report("call", "passed")
    passed.add_passed(path)
    assert path.read_text() == f"postgresql s3\ttests/test_a.py::test_before\nsqlite folder\t{ADDED}\n"
