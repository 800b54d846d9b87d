"""DuckDB sees the files that it is given and nothing else, and ends when its time is over."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from collections_app.records.preview.engine import QUESTIONS, TookTooLong, Unreadable, database

FOREVER = "SELECT count(*) FROM range(1000000) AS a, range(1000000) AS b WHERE a.range + b.range = $n"


@pytest.fixture
def given(tmp_path: Path) -> Path:
    path = tmp_path / "given's.csv"
    path.write_text("a\n1\n")
    (tmp_path / "other.csv").write_text("a\n2\n")
    return path


def test_it_reads_what_it_is_given(given: Path) -> None:
    with database(given, seconds=5) as found:
        assert found.ask("SELECT a FROM read_csv($path)", {"path": str(given)}) == [(1,)]


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
def test_it_reaches_nothing_else(given: Path, statement: str) -> None:
    other = given.with_name("other.csv")
    with pytest.raises(Unreadable), database(given, seconds=5) as found:
        found.ask(statement.format(other=other), {})
    assert other.read_text() == "a\n2\n"


def test_it_ends_when_its_time_is_over(given: Path) -> None:
    with pytest.raises(TookTooLong), database(given, seconds=0.1) as found:
        found.ask(FOREVER, {"n": -1})


def test_it_stops_when_it_is_no_longer_wanted(given: Path) -> None:
    with pytest.raises(TookTooLong), database(given, seconds=60, is_wanted=lambda: False) as found:
        found.ask(FOREVER, {"n": -1})


def test_what_needs_too_much_memory_is_refused(given: Path) -> None:
    with pytest.raises(Unreadable, match="Out of Memory"), database(given, seconds=60) as found:
        found.ask("SELECT len(list(range)) FROM range(100000000)", {})


def test_who_gets_no_turn_is_told(db: None, given: Path) -> None:
    with ExitStack() as turns:
        assert [turns.enter_context(QUESTIONS.turn(seconds=0)) for _ in range(2)] == [True, True]
        with pytest.raises(TookTooLong), database(given, seconds=0.01):
            pytest.fail("It was its turn.")
