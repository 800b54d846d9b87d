"""The names of result files: which characters a name may have, and how long it may be."""

import re
import unicodedata

CATEGORY_LIST = "category_asins.json"
CATEGORY_CSV = "category_asins.csv"

# Disks refuse a name of more than 255 bytes; the rest is for what browsers add, such as " (1)".
MAX_BYTES = 200

# What separates folders, and what Windows refuses.
_REFUSED = frozenset('/\\<>:"|?*')
# They make the rest of a name read backwards, so that an .exe can pass for a .json.
_BIDI_OVERRIDES = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# Control characters, halves of surrogate pairs, line and paragraph separators.
_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})
_LEADING_DOTS = re.compile(r"^\.+")


def page_name(collection_name: str, run_number: int, page: int) -> str:
    """Return the name of a run's page file."""
    return fitted(safe(collection_name), f"_{run_number}_Results_Page_{page}.json")


def archive_name(collection_name: str, run_number: int) -> str:
    """Return the name of the ZIP of a run's pages."""
    return fitted(safe(collection_name), f"_{run_number}_Results_All_Pages.zip")


def kept_name(name: str) -> str:
    """Return the name that a page file brought along, made safe; its ending survives a cut."""
    stem, dot, ending = safe(name).rpartition(".")
    return fitted(stem, f".{ending}") if dot and len(ending) <= len("jsonl") else fitted(safe(name), "")


def safe(name: str) -> str:
    """Return the name with `_` for every character that a file name can't have; never empty."""
    replaced = "".join("_" if _is_refused(character) else character for character in name)
    return _LEADING_DOTS.sub(lambda dots: "_" * len(dots[0]), replaced) or "_"


def printable(text: str) -> str:
    """Return the text as a terminal can show it: \ufffd stands for what is no character to be read."""
    return "".join("\ufffd" if _is_unprintable(character) else character for character in text)


def _is_refused(character: str) -> bool:
    return character in _REFUSED or _is_unprintable(character)


def _is_unprintable(character: str) -> bool:
    return character in _BIDI_OVERRIDES or unicodedata.category(character) in _UNPRINTABLE


def fitted(stem: str, tail: str) -> str:
    """Return stem and tail, the stem cut so that both together aren't too long for a disk."""
    room = MAX_BYTES - len(tail.encode())
    # A character whose last bytes were cut off is dropped.
    return stem.encode()[:room].decode(errors="ignore") + tail
