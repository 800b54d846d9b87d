import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collections_app.files import names

_LETTERS = st.text(st.characters(codec=None, exclude_categories=()))
_DEVICES = st.sampled_from(["nul", "CON", "aux", "LPT\xb2", "COM1", "CONIN$", " ", ".", ". "])
ANY_TEXT = _LETTERS | st.lists(_LETTERS | _DEVICES, max_size=4).map("".join)


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


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("NUL.json", "_NUL.json"),
        ("nul", "_nul"),
        ("Con.tar.json", "_Con.tar.json"),
        ("AUX .json", "_AUX .json"),
        ("COM1.json", "_COM1.json"),
        ("lpt\xb9.json", "_lpt\xb9.json"),
        ("CONIN$.json", "_CONIN$.json"),
        ("conout$", "_conout$"),
        (f"PRN{' ' * 200}x.json", f"_PRN{' ' * 191}.json"),
        ("page.json. .", "page.json___"),
        ("page ", "page_"),
        (f"{'x' * 199} y", f"{'x' * 199}_"),
        ("COM.json", "COM.json"),
        ("COM10.json", "COM10.json"),
        ("NULL.json", "NULL.json"),
        ("_NUL.json", "_NUL.json"),
    ],
)
def test_names_that_windows_reserves_or_changes_are_replaced(name: str, expected: str) -> None:
    assert names.kept_name(name) == expected


def test_a_collection_with_the_name_of_a_device_has_files_that_windows_can_write() -> None:
    assert names.page_name("NUL.de", 88, 1) == "_NUL.de_88_Results_Page_1.json"
    assert names.archive_name("aux.", 88) == "_aux._88_Results_All_Pages.zip"
    assert names.export_name("CON.", [88], "csv", has_chosen_columns=False) == "_CON._88_Records.csv"
    assert names.selection_name("Com1.a", [88], "zip") == "_Com1.a_Run_88_Selection.zip"
    assert names.page_name("NUL", 88, 1) == "NUL_88_Results_Page_1.json"


SAME_FILES = [
    ("Page.json", "page.JSON"),
    ("Caf\xe9.json", "CAFE\u0301.json"),
    ("Stra\xdfe.json", "STRASSE.json"),
    ("\u212bngstr\xf6m.json", "\xe5ngstro\u0308m.json"),
    ("\uac00.json", "\u1100\u1161.json"),
    ("\u03c3.json", "\u03c2.json"),
    ("a\u200db.json", "ab.json"),
]


@pytest.mark.parametrize(("first", "second"), SAME_FILES)
def test_names_of_the_same_file_on_windows_or_macos_are_numbered(first: str, second: str) -> None:
    unique = names.UniqueNames()
    stem, ending = second.split(".")
    assert [unique.add(name) for name in (first, second, second)] == [
        first,
        f"{stem} (2).{ending}",
        f"{stem} (3).{ending}",
    ]


@given(st.characters(exclude_categories=["Cs"]))
def test_every_case_and_unicode_form_has_the_same_collision_key(letter: str) -> None:
    same = {letter.upper(), letter.lower(), letter.title(), letter.casefold()}
    same |= {unicodedata.normalize(form, letter) for form in ("NFC", "NFD")}
    assert {names.collision_key(each) for each in same} == {names.collision_key(letter)}


@pytest.mark.parametrize(
    "name", ["ノートパソコン.json", "\uff89\uff70\uff84.json", "\uff11.json", "\uff50age.json"]
)
def test_names_that_only_look_alike_stay(name: str) -> None:
    assert names.UniqueNames(["ノート.json", "page.json", "1.json"]).add(name) == name


def test_a_numbered_name_is_not_too_long() -> None:
    unique = names.UniqueNames()
    added = [unique.add("日" * 65 + ".json") for _ in range(1000)]
    assert len({names.collision_key(name) for name in added}) == 1000
    assert max(len(name.encode()) for name in added) <= 200


def test_a_long_name_is_shortened_between_two_characters() -> None:
    tail = "_88_Results_Page_1.json"
    assert names.page_name("日" * 200, 88, 1) == "日" * ((200 - len(tail)) // 3) + tail


def test_a_name_of_the_maximum_length_is_not_shortened() -> None:
    tail = "_1_Results_Page_1.json"
    assert names.page_name("x" * (200 - len(tail)), 1, 1) == "x" * (200 - len(tail)) + tail


def test_an_imported_page_keeps_its_name() -> None:
    assert names.kept_name("AU Laptops_88_Results_Page_1.json") == "AU Laptops_88_Results_Page_1.json"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("x" * 300 + "_Page_10.json", "x" * 187 + "_Page_10.json"),
        ("x" * 300 + "_88_Results_page-7_" + "y" * 100 + ".json", "x" * 188 + "_page-7.json"),
        ("日" * 100 + "Page 12.json", "日" * 62 + "Page 12.json"),
        ("x" * 300 + "12.json", "x" * 193 + "12.json"),
        ("page_7_" + "x" * 300 + ".json", "page_7_" + "x" * 188 + ".json"),
        ("p_2_perpage_10_" + "x" * 300 + "3.json", "p_2_perpage_10_" + "x" * 179 + "3.json"),
        ("page_7_" + "x" * 300 + "9.json", "page_7_" + "x" * 188 + ".json"),
    ],
)
def test_a_long_imported_name_keeps_its_page_number(name: str, expected: str) -> None:
    assert names.kept_name(name) == expected


def test_a_long_name_that_is_taken_keeps_its_page_number() -> None:
    unique, name = names.UniqueNames(), names.kept_name("x" * 300 + "_Page_10.json")
    assert [unique.add(name) for _ in range(2)] == [name, "x" * 183 + "_Page_10 (2).json"]


@given(st.lists(st.sampled_from(["page", "_", "1", "22", "ü", "x" * 150, ".", " ", "9" * 40]), max_size=9))
def test_every_long_imported_name_is_valid_everywhere(parts: list[str]) -> None:
    name = names.kept_name("".join(parts) + ".json")
    assert_is_a_file_name(name)
    assert names.kept_name(name) == name


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
    assert not is_reserved_on_windows(name)
    assert not {unicodedata.category(character) for character in name} & {"Cc", "Cs", "Zl", "Zp"}


def is_reserved_on_windows(name: str) -> bool:
    """Whether Windows can't store a file with this name. From ntpath.isreserved() of Python 3.13."""
    devices = {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"}
    devices |= {f"{port}{digit}" for port in ("COM", "LPT") for digit in "123456789\xb9\xb2\xb3"}
    return (
        name[-1:] in {".", " "}
        or bool(set(name) & set('/\\<>:"|?*'))
        or name.partition(".")[0].rstrip(" ").upper() in devices
    )
