"""The benchmarks run and print their results; these tests don't check the speed."""

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
from tests.support.tools import ROOT


def run(*arguments: str) -> tools.Done:
    return tools.run(sys.executable, "-m", *arguments, check=False)


def test_every_script_is_listed() -> None:
    scripts = {
        path.stem for path in (ROOT / "bench").glob("*.py") if "run(measure, __doc__)" in path.read_text()
    }
    assert scripts == set(bench.BENCHMARKS)


@pytest.mark.parametrize("name", bench.BENCHMARKS)
def test_every_benchmark_runs_as_a_program(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit, match=r"^0$"):
        runpy.run_path(str(ROOT / "bench" / f"{name}.py"), run_name="__main__")
    assert "--quick" in capsys.readouterr().out


@pytest.mark.thorough
def test_it_writes_one_table_of_the_selected_benchmarks(tmp_path: Path) -> None:
    tools.needs("zip")
    page = tmp_path / "page.md"
    page.write_text(f"Before.\n{bench.BEGIN}\nthe old table\n{bench.END}\nAfter.\n")
    done = run("bench", "joined_zip", "category_list_to_csv", "--quick", "--pairs", "2", "--write", str(page))
    assert done.returncode == 0, done.stderr
    before, table, after = re.split(f"{bench.BEGIN}\n|{bench.END}\n", page.read_text())
    assert (before, after) == ("Before.\n", "After.\n")
    assert table.strip() in done.stdout
    rows = [line.split("|") for line in table.splitlines() if line.startswith("|")]
    assert {len(cells) for cells in rows} == {9}
    assert any("further ZIP" in cells[1] for cells in rows)
    assert any("CSV of" in cells[1] for cells in rows)


def test_a_failed_benchmark_has_a_row_and_the_others_still_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "BENCHMARKS", ("nothing", "joined_zip"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["bench", "--quick", "--pairs", "1"])
    assert bench.main() == 1
    table = capfd.readouterr().out
    assert "| nothing |" in table
    assert "failed with exit code 1" in table
    assert "Compares a ZIP file" in table


@pytest.mark.thorough
def test_a_missing_program_is_named_in_the_row(tmp_path: Path) -> None:
    rows = tmp_path / "rows.json"
    benchmark = ("-m", "bench.joined_zip", "--quick", "--rows", rows)
    tools.run(sys.executable, *benchmark, env={"PATH": str(tmp_path)})
    ((what, *_, met, _),) = json.loads(rows.read_text())
    assert what.startswith("Compares a ZIP file")
    assert met == "not measured: zip is not installed (Debian: zip)"


def test_an_unknown_benchmark_is_rejected_with_the_known_ones() -> None:
    done = run("bench", "dept")
    assert done.returncode == 2
    assert "unknown benchmark dept; choose from stored_file," in done.stderr


def test_a_page_without_markers_is_rejected_before_the_benchmarks_run(tmp_path: Path) -> None:
    done = run("bench", "--write", str(tmp_path / "page.md"))
    assert done.returncode == 2
    assert "has no lines <!-- bench: begin -->" in done.stderr


def test_the_performance_page_has_the_markers() -> None:
    assert bench.has_markers(ROOT / "docs" / "performance.md")


def test_a_target_is_met_within_the_spread_or_missed() -> None:
    assert [at_least(0.95).met(value, 0.1) for value in (1.06, 1.0, 0.9, 0.8)] == [
        "yes",
        "within the spread",
        "within the spread",
        "no",
    ]
    assert [at_most(1.5).met(value, 0.1) for value in (1.3, 1.45, 1.7)] == ["yes", "within the spread", "no"]


def test_a_row_has_the_medians_of_pairs_and_the_spread_of_the_peer() -> None:
    row = ratio_row("what", [(1.0, 2.0), (3.0, 4.0), (100.0, 2.0)], at_most(1))
    assert row == Row("what", "3.00", "2.00", "0.75 ± 0.84", "<= 1", "within the spread", "")
    assert spread_of([2.0, 2.0, 2.0]) == 0


def test_a_missing_program_is_named_with_its_package() -> None:
    with pytest.raises(Missing, match=r"nothing-of-the-sort is not installed \(Debian: a-package\)"):
        program("nothing-of-the-sort", "a-package")


def test_the_records_are_reproducible_and_compress_like_real_ones(tmp_path: Path) -> None:
    pages = [tmp_path / "one.json", tmp_path / "two.json"]
    for page in pages:
        write_page(page, Shop().records(), 1_000_000)
    content = pages[0].read_bytes()
    assert content == pages[1].read_bytes()
    assert len(json.loads(content)) > 300
    usual = len(zlib.compress(content, 6))
    assert 0.18 < usual / len(content) < 0.22
    assert 1.09 < len(isal_zlib.compress(content, 3)) / usual < 1.13
