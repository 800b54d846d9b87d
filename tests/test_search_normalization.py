"""Searching for texts that look the same to a reader."""

import unicodedata
from collections.abc import Callable

import pytest

from collections_app.records.preview.search import searched_text, terms
from collections_app.system.search_normalization import search_form


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("Zürich", "zurich"),
        ("Zu\N{COMBINING DIAERESIS}rich", "zurich"),
        ("STRASSE", "strasse"),
        ("Straße", "strasse"),
        ("\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}ZM\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}R", "izmir"),
        ("\N{LATIN SMALL LETTER DOTLESS I}sparta", "isparta"),
        ("ΟΔΟΣ", "οδοσ"),
        ("οδό\N{GREEK SMALL LETTER FINAL SIGMA}", "οδοσ"),
        ("\N{FULLWIDTH DIGIT ONE}\N{FULLWIDTH DIGIT TWO}\N{FULLWIDTH LATIN CAPITAL LETTER A}", "12a"),
        ("\N{LATIN SMALL LIGATURE FI}lm", "film"),
        ("5 m\N{SUPERSCRIPT TWO}", "5 m2"),
        ("\N{ROMAN NUMERAL FOUR}", "iv"),
        ("men\N{RIGHT SINGLE QUOTATION MARK}s", "men's"),
        ("men\N{ACUTE ACCENT}s", "men's"),
        ("15.6\N{DOUBLE PRIME}", '15.6"'),
        ("\N{LEFT DOUBLE QUOTATION MARK}x\N{RIGHT DOUBLE QUOTATION MARK}", '"x"'),
        ("Wi\N{NON-BREAKING HYPHEN}Fi \N{EN DASH} \N{MINUS SIGN}5", "wi-fi - -5"),
        ("\N{VULGAR FRACTION ONE HALF}", "1/2"),
        ("1\N{VULGAR FRACTION ONE HALF}", "1 1/2"),
        ("1\N{FRACTION SLASH}2 3\N{DIVISION SLASH}4", "1/2 3/4"),
        ("10\N{MULTIPLICATION SIGN}20 3\N{HEAVY MULTIPLICATION X}", "10x20 3x"),
        ("16\N{RATIO}9", "16:9"),
        ("10\N{WAVE DASH}20 10\N{FULLWIDTH TILDE}20 10\N{TILDE OPERATOR}20", "10~20 10~20 10~20"),
        ("key\N{SOFT HYPHEN}board", "keyboard"),
        ("\N{ZERO WIDTH NO-BREAK SPACE}a\N{ZERO WIDTH SPACE}b\N{ZERO WIDTH JOINER}\N{WORD JOINER}c", "abc"),
        ("\N{HEAVY BLACK HEART}\N{VARIATION SELECTOR-16}", "\N{HEAVY BLACK HEART}"),
        ("  two \t\r\n lines ", "two lines"),
        ("Ελλάδα", "ελλαδα"),
        ("Алёна", "алена"),
        (
            "\u0627\u0644\u0639\u064e\u0631\u064e\u0628\u0650\u064a\u0651\u0629",
            "\u0627\u0644\u0639\u0631\u0628\u064a\u0629",
        ),
        ("한국어", "한국어"),
        ("\N{HALFWIDTH KATAKANA LETTER KA}\N{HALFWIDTH KATAKANA VOICED SOUND MARK}", "ガ"),
        ("ไก่", "ไก่"),
    ],
)
def test_variants_of_a_text_have_the_same_form(text: str, form: str) -> None:
    assert search_form(text) == form
    assert search_form(form) == form


@pytest.mark.parametrize(
    "space",
    [
        " ",
        "\t",
        "\n",
        "\u00a0",
        "\u1680",
        "\u2002",
        "\u2009",
        "\u200a",
        "\u2028",
        "\u202f",
        "\u205f",
        "\u3000",
    ],
)
def test_every_space_is_a_space(space: str) -> None:
    assert search_form(f"gaming{space}{space}laptop") == "gaming laptop"


@pytest.mark.parametrize("other", [("ガ", "カ"), ("한", "하"), ("ป่า", "ป้า"), ("o", "0")])
def test_different_letters_have_different_forms(other: tuple[str, str]) -> None:
    first, second = map(search_form, other)
    assert first not in second
    assert second not in first


FORMS: list[Callable[[str], str]] = [
    lambda text: unicodedata.normalize("NFC", text),
    lambda text: unicodedata.normalize("NFD", text),
    str.upper,
    str.lower,
    str.casefold,
    search_form,
]


def test_case_and_normalization_change_no_form() -> None:
    letters = [chr(code) for code in range(0x20, 0x3000) if unicodedata.category(chr(code)) != "Cn"]
    letters.remove("\N{GREEK OXIA}")  # an accent without a letter
    assert [
        each for each in letters for change in FORMS if search_form(change(each)) != search_form(each)
    ] == []


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("Laptop GAMING", ["laptop", "gaming"]),
        ('"Gaming  Laptop" asus', ["gaming laptop", "asus"]),
        ("\N{LEFT DOUBLE QUOTATION MARK}gaming laptop\N{RIGHT DOUBLE QUOTATION MARK}", ["gaming laptop"]),
        ('15.6" laptop 17"', ["laptop", '15.6"', '17"']),
        ('say "hi there', ["hi there", "say"]),
        ('"', ['"']),
        ('"" " "', ['""']),
        ("lap laptop laptop top", ["laptop"]),
        ("\N{ZERO WIDTH SPACE}", []),
        ("", []),
    ],
)
def test_a_search_consists_of_words_and_phrases(search: str, found: list[str]) -> None:
    assert terms(search) == found


def test_a_phrase_is_within_one_value() -> None:
    text = searched_text(["red", "Laptop", ["Öl", {"key": "gaming"}], 5, True, None])
    assert all(term in text for term in ("red", "laptop", "ol", "gaming", "5", "true"))
    assert "key" not in text
    assert "red laptop" not in text
    assert "null" not in text


def test_the_form_is_not_much_longer_than_the_text() -> None:
    assert len(searched_text(["\N{ARABIC LIGATURE SALLALLAHOU ALAYHE WASALLAM}" * 10_000])) < 30_000


def test_deep_values_are_searched() -> None:
    value: object = "deep"
    for _ in range(100_000):
        value = [value]
    assert "deep" in searched_text([value])
