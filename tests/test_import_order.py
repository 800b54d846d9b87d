"""The order of imported files, and the files that are ignored."""

from pathlib import PurePosixPath
from random import Random

import pytest

from collections_app.runs.incoming.page_order import NamedFile, in_page_order
from collections_app.runs.incoming.system_files import is_system_file


def ordered(*paths: str) -> list[str]:
    files = [NamedFile(str(PurePosixPath(path).parent), PurePosixPath(path).name) for path in paths]
    return [paths[at] for at in in_page_order(files)]


@pytest.mark.parametrize(
    "names",
    [
        ["page_1.json", "page_2.json", "page_10.json"],
        ["page-1.json", "page-2.json", "page-10.json"],
        ["Page 1.json", "PAGE 2.JSON", "page 10.json"],
        ["1.json", "2.json", "10.json"],
        ["page1.json", "page2.json", "page10.json"],
        ["page01.json", "page2.json", "page003.json", "page10.json"],
        ["page_1.json", "Page-2.json", "3.json", "page04.json", "page (5).json", "page#10.json"],
        ["results(1).json", "results(2).json", "results(10).json"],
        ["results.json", "results (1).json", "results (2).json", "results (10).json"],
        ["page.json", "page_2.json", "page_10.json"],
        ["page_\uff11.json", "page_\uff12.json", "page_\uff11\uff10.json"],
        ["page_\u0661.json", "page_2.json", "page_\u0661\u0660.json"],
        ["ページ1.json", "ページ2.json", "ページ10.json"],
        [f"AU Laptops_88_Results_Page_{number}.json" for number in (1, 9, 10, 100)],
        ["AU_88_1.json", "AU_88_2.json", "AU_88_10.json"],
        ["page_1_of_20.json", "page_2_of_20.json", "page_10_of_20.json"],
        ["1_of_20.json", "2_of_20.json", "10_of_20.json"],
        ["page_1_part_1.json", "page_1_part_2.json", "page_1_part_10.json", "page_2_part_1.json"],
        ["c9_page_1.json", "a7f3_page_2.json", "b1_page_10.json"],
        ["Page_7 deals_3_Results_Page_1.json", "Page_7 deals_3_Results_Page_10.json"],
        ["2026-06-20_2.json", "2026-06-20_10.json", "2026-06-21_1.json"],
        ["2026-06-20T09.json", "2026-06-20T10.json", "2026-06-21T08.json"],
        ["items_1.jsonl.gz", "items_2.jsonl.gz", "items_10.jsonl.gz"],
        ["1/results.json", "2/results.json", "10/results.json"],
        ["batch_2/page_1.json", "batch_2/page_2.json", "batch_2/page_10.json", "batch_10/page_1.json"],
        ["AU_88_Results_Page_2.json", "AU_88_Results_Page_10.json", "AU_89_Results_Page_1.json"],
        ["2026-11-29_page_10.json", "2026-11-30_page_2.json"],
        ["2026-11-29/page_10.json", "2026-11-30/page_2.json"],
        ["laptops_2.zip/page_1.json", "laptops_2.zip/page_2.json", "laptops_10.zip/page_1.json"],
        ["p_1_perpage_20.json", "p_2_perpage_10.json", "p_10_perpage_5.json"],
        ["-10.json", "-1.json", "0.json", "1.json"],
        ["\u22121.json", "0.json", "1.json"],
        ["laptops -1.json", "laptops -2.json", "laptops -10.json"],
        ["cafe\u0301_1.json", "caf\u00e9_2.json", "CAF\u00c9_10.json"],
        ["999999999999999999.json", "1000000000000000000.json", "10000000000000000000.json"],
        # Each name has a title or an id of its own.
        ["1 - Intro.json", "2 - Laptops.json", "10 - Phones.json"],
        ["results_1_a7f.json", "results_2_c9.json", "results_10_ba.json"],
        ["c/page_1.json", "a/page_2.json", "b/page_10.json"],
    ],
)
def test_numbers_in_names_are_sorted_as_numbers(names: list[str]) -> None:
    for seed in range(20):
        assert ordered(*Random(seed).sample(names, len(names))) == names
    assert ordered(*sorted(names)) == names


@pytest.mark.parametrize(
    "names",
    [
        ["b.json", "a.json", "c.json"],
        ["b/x.json", "a/x.json"],
        # The numbers are the same.
        ["run 7 b.json", "run 7 a.json"],
        ["b Page_2.json", "a.json"],
        ["summary.json", "page_1.json", "page_2.json", "rest.json"],
    ],
)
def test_names_without_numbers_keep_the_given_order(names: list[str]) -> None:
    assert ordered(*names) == names


@pytest.mark.parametrize(
    "names",
    [
        ["laptops_1", "laptops_2", "phones_1", "phones_2"],
        ["phones_1", "phones_2", "laptops_1"],
        ["laptops_page_1", "laptops_page_2", "phones_page_1", "phones_page_2"],
        ["laptops_88_Results_Page_1", "laptops_88_Results_Page_2", "phones_7_Results_Page_1"],
        ["1_laptops", "2_laptops", "1_phones", "2_phones"],
        ["phones_1", "laptops_1", "phones_2", "laptops_2"],
        ["b_2", "z_1", "a_2", "c_1"],
        ["phones_10", "laptops_2"],
        ["c++_1", "c++_2", "c_1", "c_2"],
        ["\U0001f4bb_1", "\U0001f4bb_2", "\U0001f4f1_1"],
        ["a/page_1", "a/page_2", "b/page_1", "b/page_2"],
        ["b/page_1", "b/page_2", "a/page_1", "a/page_2"],
        ["run-7/b_2", "run-7/a_1"],
        ["all.zip/a/page_1", "all.zip/a/page_2", "all.zip/b/page_1"],
    ],
)
def test_different_series_keep_the_given_order(names: list[str]) -> None:
    assert ordered(*(f"{name}.json" for name in names)) == [f"{name}.json" for name in names]


def test_each_series_is_sorted_within_its_positions() -> None:
    names = ["phones_1", "phones_10", "phones_2", "laptops_1", "laptops_10", "laptops_2"]
    assert ordered(*names) == ["phones_1", "phones_2", "phones_10", "laptops_1", "laptops_2", "laptops_10"]


def test_files_without_a_number_stay_where_they_are_among_numbered_ones() -> None:
    names = ["summary.json", "page_1.json", "page_10.json", "rest.json", "page_2.json"]
    assert ordered(*names) == ["summary.json", "page_1.json", "page_2.json", "rest.json", "page_10.json"]


def test_the_same_number_twice_keeps_the_given_order() -> None:
    assert ordered("Page_2.json", "page 1.json", "page_2.json", "PAGE-1.json") == [
        "page 1.json",
        "PAGE-1.json",
        "Page_2.json",
        "page_2.json",
    ]


def test_a_number_of_any_length_can_be_in_a_name() -> None:
    assert ordered("9" * 60_000 + ".json", "2.json") == ["2.json", "9" * 60_000 + ".json"]


@pytest.mark.parametrize(
    "path",
    [
        ".DS_Store",
        "run/.DS_Store",
        "run\\.DS_Store",
        "._page_1.json",
        "run/._page_1.json",
        "Thumbs.db",
        "run/thumbs.db",
        "desktop.ini",
        "a/b/Desktop.ini",
        "__MACOSX/page_1.json",
        "run/__MACOSX/run/._page_1.json",
    ],
)
def test_files_of_finder_and_explorer_are_recognized(path: str) -> None:
    assert is_system_file(path)


@pytest.mark.parametrize(
    "path", ["page_1.json", "_.json", "__MACOSX", "a._b.json", "Thumbs.db.json", ".x.json"]
)
def test_other_files_are_results(path: str) -> None:
    assert not is_system_file(path)
