"""The names of result files: their patterns, and what Windows, macOS and Linux allow."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import PurePosixPath
from typing import TypeVar

Named = TypeVar("Named")

CATEGORY_LIST = "category_asins.json"
CATEGORY_CSV = "category_asins.csv"

# File systems allow 255 bytes. The rest is for what browsers add, such as " (1)".
MAX_BYTES = 200
_LONGEST_FOLDER = 40

# Control characters, line and paragraph separators, halves of surrogate pairs, and characters that change the
# direction of text. The last ones can make a name read backwards, so that an .exe looks like a .json.
_UNPRINTABLE_RANGES = r"\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_UNPRINTABLE = re.compile(f"[{_UNPRINTABLE_RANGES}]")
# Also path separators, and characters that Windows refuses.
_REFUSED = re.compile(rf'[/\\<>:"|?*{_UNPRINTABLE_RANGES}]')
_LEADING_DOTS = re.compile(r"^\.+")
# Windows removes these without a message.
_TRAILING = re.compile(r"[. ]+\Z")
# Windows opens a device instead of a file with one of these names, whatever the case and the extension. The
# list is that of ntpath.isreserved() in Python 3.13, with COM0 and LPT0, which some versions reserve.
_DEVICE = re.compile(
    r"(?:CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(?:COM|LPT)[0-9\xb9\xb2\xb3]) *(?:\.|\Z)", re.IGNORECASE
)

# Numbers in names, with digits of any script. "page" may be written in many ways: Page_1, page-1, PAGE (1).
# In perpage_10, the number isn't that of a page.
NUMBER = re.compile(r"\d{1,18}")
PAGE_NUMBER = re.compile(r"[\W_]?(?<![a-z])page[\W_]{0,9}(\d{1,18})", re.IGNORECASE)


def page_name(collection_name: str, run_number: int, page: int) -> str:
    """Return the name of a run's page file."""
    return fitted(safe(collection_name), f"_{run_number}_Results_Page_{page}.json")


def archive_name(collection_name: str, run_number: int) -> str:
    """Return the name of the ZIP of a run's pages."""
    return fitted(safe(collection_name), f"_{run_number}_Results_All_Pages.zip")


def all_files_name(collection_name: str, run_number: int) -> str:
    """Return the name of a ZIP of all files of a run that has no stored ZIP."""
    return fitted(safe(collection_name), f"_{run_number}_Results_All_Files.zip")


def selection_name(collection_name: str, run_numbers: Sequence[int], ending: str) -> str:
    """Return the name of a file with the selected files of these runs, in ascending order."""
    runs = f"Run_{run_numbers[0]}" if len(run_numbers) == 1 else _span(run_numbers)
    return fitted(safe(collection_name), f"_{runs}_Selection.{ending}")


def export_name(
    collection_name: str,
    run_numbers: Sequence[int],
    ending: str,
    *,
    has_chosen_columns: bool,
    is_search: bool = False,
) -> str:
    """Return the name of the exported records of one or more runs."""
    runs = str(run_numbers[0]) if len(run_numbers) == 1 else _span(sorted(run_numbers))
    chosen = ("_matching" if is_search else "") + ("_chosen_columns" if has_chosen_columns else "")
    return fitted(safe(collection_name), f"_{runs}_Records{chosen}.{ending}")


def changes_name(collection_name: str, run_number: int, since: int, ending: str) -> str:
    """Return the name of a file with the changes between two runs."""
    return fitted(safe(collection_name), f"_{run_number}_Changes_since_{since}.{ending}")


def saved_export_name(collection_name: str, run_number: int, name: str, ending: str) -> str:
    """Return the file name of a saved export of a run."""
    return fitted(safe(collection_name), f"_{run_number}_{safe(name)}.{ending}")


def _span(run_numbers: Sequence[int]) -> str:
    return f"{len(run_numbers)}_Runs_{run_numbers[0]}_to_{run_numbers[-1]}"


def last_night_name(team_name: str, evening: date, ending: str) -> str:
    """Return the name of a file with the results of the night that began on this date."""
    return fitted(safe(team_name), f"_Last_Night_{evening.isoformat()}.{ending}")


def folder_name(collection_name: str) -> str:
    """Return the name of a collection's folder in a ZIP.

    It is short, because on Windows, the path of a file in it can have only 260 characters.
    """
    return fitted(safe(collection_name).encode()[:_LONGEST_FOLDER].decode(errors="ignore"), "")


def kept_name(name: str) -> str:
    """Return a safe form of an imported page file's name. A long name keeps its page number and extension."""
    stem, dot, ending = safe(name).rpartition(".")
    return (
        _shortened(stem, f".{ending}") if dot and len(ending) <= len("jsonl") else _shortened(safe(name), "")
    )


def _shortened(stem: str, tail: str) -> str:
    """Return what fitted() returns, but keep the number of the page in the stem."""
    room = MAX_BYTES - len(tail.encode())
    number = _last(PAGE_NUMBER, stem) or _last(NUMBER, stem)
    if number and len(stem[: number.end()].encode()) > room:
        return fitted(stem[: number.start()], number[0] + tail)
    return fitted(stem, tail)


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    return next(reversed([None, *pattern.finditer(text)]))


def safe(name: str) -> str:
    """Return the name with `_` instead of characters that file names can't contain. Never return ""."""
    return _LEADING_DOTS.sub(_underscores, _REFUSED.sub("_", name)) or "_"


def printable(text: str) -> str:
    """Return the text for a terminal, with \ufffd instead of control characters."""
    return _UNPRINTABLE.sub("\ufffd", text)


def fitted(stem: str, tail: str) -> str:
    """Return stem and tail as a file name. Shorten the stem if both together would be too long.

    Stem and tail must contain only characters that safe() returns.
    """
    room = MAX_BYTES - len(tail.encode())
    # Drop a character whose last bytes were cut off.
    name = stem.encode()[:room].decode(errors="ignore") + tail
    return fitted(f"_{stem}", tail) if _DEVICE.match(name) else _TRAILING.sub(_underscores, name)


def _underscores(found: re.Match[str]) -> str:
    return "_" * len(found[0])


class UniqueNames:
    """The names of files in one folder, no two of which mean the same file on Windows, macOS or Linux."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        """Start with names that are taken."""
        self._taken = set(map(collision_key, taken))
        self._numbers: dict[str, int] = {}  # the last number used, by the key of the name with number 2

    def __contains__(self, name: str) -> bool:
        """Whether the name, or one that is the same on some systems, is taken."""
        return collision_key(name) in self._taken

    def add(self, name: str) -> str:
        """Take and return the name, or the name with a number if it is taken."""
        free = self._numbered(PurePosixPath(name)) if name in self else name
        self._taken.add(collision_key(free))
        return free

    def _numbered(self, path: PurePosixPath) -> str:
        first = collision_key(_shortened(path.stem, f" (2){path.suffix}"))
        number = self._numbers.get(first, 2)
        while (name := _shortened(path.stem, f" ({number}){path.suffix}")) in self:
            number += 1
        self._numbers[first] = number
        return name


def collision_key(name: str) -> str:
    """Return a text that is equal for names that mean the same file on any system.

    Windows and macOS ignore case, macOS ignores Unicode forms, and HFS+ ignores invisible characters.
    """
    if name.isascii():
        return name.lower()
    visible = "".join(character for character in name if unicodedata.category(character) != "Cf")
    folded = unicodedata.normalize("NFD", visible).upper().casefold()
    return unicodedata.normalize("NFD", folded)


def namesake(name: str, others: Iterable[Named]) -> Named | None:
    """Return the first of these whose name means the same file on some system, or None."""
    key = collision_key(name)
    return next((each for each in others if collision_key(str(each)) == key), None)
