"""The form of texts for searching: texts that look the same to a reader have the same form."""

import re
from unicodedata import normalize

# Accents, and the points of Hebrew and Arabic, which are usually left out. Marks that change a word in other
# scripts, such as vowel signs, stay.
_ACCENTS = (
    "\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u0640\u064b-\u065f"
    "\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
)
# The property Default_Ignorable_Code_Point of Unicode: zero-width spaces, soft hyphens, variation selectors.
_INVISIBLE = (
    "\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_IGNORED = re.compile(f"[{_ACCENTS}{_INVISIBLE}]+")

_DOTLESS_I = "\u0131"
_APOSTROPHES = "\u02b9\u02bb-\u02bd\u2018\u2019\u201b\u2032"
_QUOTES = "\u201c-\u201f"
_DASHES = "\u2010-\u2015\u2212"
_SLASHES = "\u2044\u2215"
_TIMES = "\u00d7\u2715\u2716\u2a2f"
_RATIO = "\u2236"
_TILDES = "\u223c\u301c"
# Characters that keyboards and programs exchange for these.
_SIMPLE = [
    (re.compile(f"[{characters}]"), simple)
    for characters, simple in (
        (_DOTLESS_I, "i"),
        (_APOSTROPHES, "'"),
        (_QUOTES, '"'),
        (_DASHES, "-"),
        (_SLASHES, "/"),
        (_TIMES, "x"),
        (_RATIO, ":"),
        (_TILDES, "~"),
    )
]
# Decomposed, a fraction after a digit would become another number.
_MIXED_FRACTION = re.compile(r"(?<=\d)(?=[\u00bc-\u00be\u2150-\u215f\u2189])")
# Decomposed, these would become a space with an accent, and two primes.
_ACUTE, _DOUBLE_PRIME = "\u00b4", "\u2033"

# Whitespace that isn't a single space.
_SPACES = ["  ", *(space for space in map(chr, range(0x3001)) if space.isspace() and space != " ")]


def search_form(text: str) -> str:
    """Return a text without case, accents, invisible characters and Unicode's variants of the same character.

    Each run of whitespace becomes a space. Variants are ligatures, full-width digits, typographic quotes
    and fractions, for example.
    """
    text = text.lower() if text.isascii() else _without_variants(text)
    return " ".join(text.split()) if any(map(text.__contains__, _SPACES)) else text.strip()


def _without_variants(text: str) -> str:
    text = text.replace(_ACUTE, "'").replace(_DOUBLE_PRIME, '"')
    text = _MIXED_FRACTION.sub(" ", text)
    text = _IGNORED.sub("", normalize("NFKD", text).casefold())
    for variants, simple in _SIMPLE:
        text = variants.sub(simple, text)
    # Composed, the letters of Korean and Japanese don't match parts of others.
    return normalize("NFC", text)
