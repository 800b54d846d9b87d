import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collections_app.files import names

ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()))


def test_pages_and_the_zip_have_the_vendors_names() -> None:
    assert names.page_name("AU Laptops", 88, 1) == "AU Laptops_88_Results_Page_1.json"
    assert names.page_name("AU Laptops", 88, 12) == "AU Laptops_88_Results_Page_12.json"
    assert names.archive_name("AU Laptops", 88) == "AU Laptops_88_Results_All_Pages.zip"


@pytest.mark.parametrize(
    "name", ["AU Laptops", "Café Zürich", "ノートパソコン", "👩‍👩‍👧 deals", "שלום", "50% off; #1 & 'more'"]
)
def test_allowed_characters_stay(name: str) -> None:
    assert names.safe(name) == name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a/b\\c", "a_b_c"),
        ('<>:"|?*', "_______"),
        ("tab\tnul\0line\n", "tab_nul_line_"),
        ("\u2028\u2029", "__"),
        ("\u202egpj.exe", "_gpj.exe"),
        ("half \ud83d", "half _"),
        (".hidden", "_hidden"),
        ("..", "__"),
        ("../../etc/passwd", "___.._etc_passwd"),
        ("", "_"),
    ],
)
def test_forbidden_characters_become_underscores(name: str, expected: str) -> None:
    assert names.safe(name) == expected


def test_a_long_name_is_shortened_between_two_characters() -> None:
    tail = "_88_Results_Page_1.json"
    assert names.page_name("日" * 200, 88, 1) == "日" * ((200 - len(tail)) // 3) + tail


def test_a_name_of_the_maximum_length_is_not_shortened() -> None:
    tail = "_1_Results_Page_1.json"
    assert names.page_name("x" * (200 - len(tail)), 1, 1) == "x" * (200 - len(tail)) + tail


def test_an_imported_page_keeps_its_name() -> None:
    assert names.kept_name("AU Laptops_88_Results_Page_1.json") == "AU Laptops_88_Results_Page_1.json"


def test_a_long_imported_name_keeps_its_extension() -> None:
    assert names.kept_name("x" * 300 + ".json") == "x" * 195 + ".json"
    assert names.kept_name("x" * 300) == "x" * 200
    assert names.kept_name("x." + "y" * 300) == "x." + "y" * 198


@given(ANY_TEXT, st.integers(1, 2**63 - 1), st.integers(1, 2**31 - 1))
def test_every_generated_name_is_valid_everywhere(collection: str, number: int, page: int) -> None:
    for name in (names.page_name(collection, number, page), names.archive_name(collection, number)):
        assert_is_a_file_name(name)
    assert names.page_name(collection, number, page).endswith(f"_{number}_Results_Page_{page}.json")


@given(ANY_TEXT)
def test_every_imported_name_is_valid_everywhere(name: str) -> None:
    assert_is_a_file_name(names.kept_name(name))


@given(ANY_TEXT)
def test_a_safe_name_does_not_change(name: str) -> None:
    assert names.safe(names.safe(name)) == names.safe(name)
    assert names.kept_name(names.kept_name(name)) == names.kept_name(name)


@given(ANY_TEXT)
def test_printable_text_cannot_move_the_cursor(name: str) -> None:
    shown = names.printable(name)
    assert len(shown) == len(name)
    assert not {unicodedata.category(character) for character in shown} & {"Cc", "Cs", "Zl", "Zp"}
    assert (
        names.printable("Caf\u00e9 \u3000\U0001f3a7/\x1b[0m\u202e")
        == "Caf\u00e9 \u3000\U0001f3a7/\ufffd[0m\ufffd"
    )


def assert_is_a_file_name(name: str) -> None:
    assert 0 < len(name.encode()) <= 200
    assert not name.startswith(".")
    assert not set(name) & set('/\\<>:"|?*')
    assert not {unicodedata.category(character) for character in name} & {"Cc", "Cs", "Zl", "Zp"}
