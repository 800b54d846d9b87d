"""DuckDB accesses only the given files, for a limited time."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from collections_app.records.preview import engine
from collections_app.records.preview.engine import (
    SEARCHES,
    QueryTimeout,
    UnreadableFile,
    open_database,
    open_shared_database,
)
from tests.support.tools import PATIENCE

FOREVER = "SELECT count(*) FROM range(1000000) AS a, range(1000000) AS b WHERE a.range + b.range = $n"


@pytest.fixture
def given(tmp_path: Path) -> Path:
    path = tmp_path / "given's.csv"
    path.write_text("a\n1\n")
    (tmp_path / "other.csv").write_text("a\n2\n")
    return path


def test_it_reads_the_given_file(given: Path) -> None:
    with open_database(given, seconds=PATIENCE) as found:
        assert found.query("SELECT a FROM read_csv($path)", {"path": str(given)}) == [(1,)]


def test_it_is_reused_for_the_same_file_only(given: Path) -> None:
    other = given.with_name("other.csv")
    _open_and_set(given, 1)
    assert _value_set_before(given) == [(1,)]
    assert _value_set_before(other) == [(None,)]
    assert _value_set_before(given) == [(1,)]


def test_it_is_not_reused_after_an_error(given: Path) -> None:
    _open_and_set(given, 1)
    with pytest.raises(QueryTimeout), open_database(given, seconds=0.1) as found:
        found.query(FOREVER, {"n": -1})
    assert _value_set_before(given) == [(None,)]


def test_few_are_kept(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.csv" for number in range(5)]
    for file in files:
        _open_and_set(file, 1)
    assert [_value_set_before(file) for file in files[::-1]] == [[(1,)]] * 4 + [[(None,)]]


def _open_and_set(file: Path, value: int) -> None:
    with open_database(file, seconds=PATIENCE) as found:
        found.query(f"SET VARIABLE noted = {value}", {})


def _value_set_before(file: Path) -> Sequence[tuple[Any, ...]]:
    with open_database(file, seconds=PATIENCE) as found:
        return found.query("SELECT getvariable('noted')", {})


@pytest.mark.parametrize("is_reused", [False, True])
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM read_csv('{other}')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM glob('/etc/*')",
        "COPY (SELECT 1) TO '{other}'",
        "ATTACH '{other}.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "SET allowed_paths = ['/etc/passwd']",
        "SET memory_limit = '100GB'",
        "SELECT * FROM 'https://example.com/a.csv'",
    ],
)
def test_it_can_access_nothing_else(*, given: Path, statement: str, is_reused: bool) -> None:
    other = given.with_name("other.csv")
    if is_reused:
        _open_and_set(given, 1)
        _open_and_set(other, 1)
    with pytest.raises(UnreadableFile), open_database(given, seconds=PATIENCE) as found:
        found.query(statement.format(other=other), {})
    assert other.read_text() == "a\n2\n"


def test_a_shared_database_can_access_only_its_folders(given: Path) -> None:
    outside = given.parent.with_name("outside.csv")
    outside.write_text("a\n3\n")
    given.with_name("link.csv").symlink_to(outside)
    for path in (outside, given.with_name("link.csv"), given.parent / ".." / "outside.csv"):
        with (
            pytest.raises(UnreadableFile, match="Permission Error"),
            open_shared_database(given, folders=[given.parent], seconds=PATIENCE) as found,
        ):
            found.query("SELECT a FROM read_csv($path)", {"path": str(path)})


def test_a_shared_database_is_created_once_and_keeps_nothing(
    given: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_idle", engine._IdleDatabases())
    with open_shared_database(given, folders=[given.parent], seconds=PATIENCE) as found:
        found.query("CREATE TEMP TABLE found AS SELECT a FROM read_csv($path)", {"path": str(given)})
        found.query("SET VARIABLE noted = 1", {})
    monkeypatch.setattr(engine, "_created", None)
    with open_shared_database(given, folders=[given.parent], seconds=PATIENCE) as found:
        tables = found.query("SELECT table_name FROM duckdb_tables()", {})
        assert (tables, found.query("SELECT getvariable('noted')", {})) == ([], [(None,)])


def test_a_query_is_interrupted_at_its_time_limit(given: Path) -> None:
    with pytest.raises(QueryTimeout), open_database(given, seconds=0.1) as found:
        found.query(FOREVER, {"n": -1})


def test_an_unwanted_query_is_interrupted(given: Path) -> None:
    with pytest.raises(QueryTimeout), open_database(given, seconds=60, is_wanted=lambda: False) as found:
        found.query(FOREVER, {"n": -1})


def test_an_interruption_by_a_signal_is_not_an_error(given: Path) -> None:
    # DuckDB notices signals between tasks, at no predictable time, so raise what it raises.
    with pytest.raises(KeyboardInterrupt), open_database(given, seconds=PATIENCE):
        raise RuntimeError("Query interrupted")


def test_other_errors_during_a_query_are_not_hidden(given: Path) -> None:
    with pytest.raises(RuntimeError, match="set changed"), open_database(given, seconds=PATIENCE):
        raise RuntimeError("set changed size during iteration")


def test_memory_is_limited(given: Path) -> None:
    with pytest.raises(UnreadableFile, match="Out of Memory"), open_database(given, seconds=60) as found:
        found.query("SELECT len(list(range)) FROM range(100000000)", {})


def test_waiting_for_others_is_limited(db: None, given: Path) -> None:
    with ExitStack() as turns:
        assert [turns.enter_context(SEARCHES.acquired(seconds=0)) for _ in range(2)] == [True, True]
        with pytest.raises(QueryTimeout), open_database(given, seconds=0.01):
            pytest.fail("It was its turn.")
