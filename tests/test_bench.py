"""The measurements run, and say what they found; how fast anything is they aren't asked here."""

import json
import re
import runpy
import sys
import zlib
from pathlib import Path

import pytest
from isal import isal_zlib

from bench import __main__ as bench
from bench.measure import Missing, Row, at_least, at_most, program, ratio_row, spread_of
from bench.records import Shop, write_page
from tests.support import tools
from tests.support.server import ROOT


def run(*arguments: str) -> tools.Done:
    return tools.run(sys.executable, "-m", *arguments, check=False)


def test_every_script_is_a_question() -> None:
    scripts = {
        path.stem for path in (ROOT / "bench").glob("*.py") if "run(measure, __doc__)" in path.read_text()
    }
    assert scripts == set(bench.QUESTIONS)


@pytest.mark.parametrize("question", bench.QUESTIONS)
def test_every_question_can_be_asked_by_itself(
    question: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [question, "--help"])
    with pytest.raises(SystemExit, match=r"^0$"):
        runpy.run_path(str(ROOT / "bench" / f"{question}.py"), run_name="__main__")
    assert "--quick" in capsys.readouterr().out


def test_one_table_of_the_questions_that_are_chosen(tmp_path: Path) -> None:
    tools.needs("zip")
    page = tmp_path / "page.md"
    page.write_text(f"Before.\n{bench.BEGIN}\nthe last one\n{bench.END}\nAfter.\n")
    done = run("bench", "joined_zip", "category_list_to_csv", "--quick", "--pairs", "2", "--write", str(page))
    assert done.returncode == 0, done.stderr
    before, table, after = re.split(f"{bench.BEGIN}\n|{bench.END}\n", page.read_text())
    assert (before, after) == ("Before.\n", "After.\n")
    assert table.strip() in done.stdout
    rows = [line.split("|") for line in table.splitlines() if line.startswith("|")]
    assert {len(cells) for cells in rows} == {9}
    assert any("further ZIP" in cells[1] for cells in rows)
    assert any("CSV of" in cells[1] for cells in rows)


def test_what_breaks_off_has_a_row_and_the_rest_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "QUESTIONS", ("nothing", "category_list_to_csv"))
    monkeypatch.setattr(sys, "argv", ["bench", "--quick", "--pairs", "1"])
    assert bench.main() == 1
    table = capfd.readouterr().out
    assert "| nothing |" in table
    assert "failed with exit code 1" in table
    assert "CSV of" in table


def test_a_peer_that_is_missing_is_said_in_the_row(tmp_path: Path) -> None:
    rows = tmp_path / "rows.json"
    question = ("-m", "bench.joined_zip", "--quick", "--rows", rows)
    tools.run(sys.executable, *question, env={"PATH": str(tmp_path)})
    ((what, *_, met, _),) = json.loads(rows.read_text())
    assert what.startswith("Measures a ZIP")
    assert met == "not measured: zip is not installed (Debian: zip)"


def test_an_unknown_question_is_told_the_others() -> None:
    done = run("bench", "dept")
    assert done.returncode == 2
    assert "there is no question dept; there are stored_file," in done.stderr


def test_a_page_without_a_place_for_the_table_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    done = run("bench", "--write", str(tmp_path / "page.md"))
    assert done.returncode == 2
    assert "has no lines <!-- bench: begin -->" in done.stderr


def test_the_page_in_the_docs_has_a_place_for_the_table() -> None:
    assert bench.has_markers(ROOT / "docs" / "performance.md")


def test_a_target_is_met_by_more_than_the_spread_or_within_it_or_not() -> None:
    assert [at_least(0.95).met(value, 0.1) for value in (1.06, 1.0, 0.9, 0.8)] == [
        "yes",
        "within the spread",
        "within the spread",
        "no",
    ]
    assert [at_most(1.5).met(value, 0.1) for value in (1.3, 1.45, 1.7)] == ["yes", "within the spread", "no"]


def test_a_row_gives_medians_of_pairs_and_the_spread_of_the_peer_alone() -> None:
    row = ratio_row("what", [(1.0, 2.0), (3.0, 4.0), (100.0, 2.0)], at_most(1))
    assert row == Row("what", "3.00", "2.00", "0.75 ± 0.84", "<= 1", "within the spread", "")
    assert spread_of([2.0, 2.0, 2.0]) == 0


def test_a_missing_program_is_named_with_its_package() -> None:
    with pytest.raises(Missing, match=r"nothing-of-the-sort is not installed \(Debian: a-package\)"):
        program("nothing-of-the-sort", "a-package")


def test_the_records_are_the_same_each_time_and_compress_as_real_ones_do(tmp_path: Path) -> None:
    pages = [tmp_path / "one.json", tmp_path / "two.json"]
    for page in pages:
        write_page(page, Shop().records(), 1_000_000)
    content = pages[0].read_bytes()
    assert content == pages[1].read_bytes()
    assert len(json.loads(content)) > 300
    usual = len(zlib.compress(content, 6))
    assert 0.18 < usual / len(content) < 0.22
    assert 1.09 < len(isal_zlib.compress(content, 3)) / usual < 1.13
