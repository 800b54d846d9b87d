from pathlib import Path

import pytest

from tests.support import passed

ADDED = "tests/test_a.py::test_added"


@pytest.fixture(autouse=True)
def path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """The file of an earlier run, which passed this test."""
    path = tmp_path / "passed"
    path.write_text(f"{request.node.nodeid}\n")
    monkeypatch.setattr(passed, "_PATH", path)
    monkeypatch.setattr(passed, "_passed", set())
    return path


def report(when: str, outcome: str) -> None:
    passed.pytest_runtest_logreport(
        pytest.TestReport(ADDED, ("", 0, ""), {}, outcome, None, when)  # type: ignore[arg-type]
    )


def test_a_test_that_has_passed_is_left_out(request: pytest.FixtureRequest, path: Path) -> None:
    items: list[pytest.Item] = [request.node]
    passed.pytest_collection_modifyitems(request.config, items)
    assert items == []
    path.unlink()
    items = [request.node]
    passed.pytest_collection_modifyitems(request.config, items)
    assert items == [request.node]


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
