"""Files that contain one object: find the list of records in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from collections_app.files.names import printable
from collections_app.records.formats.json_records import ENVELOPE_KEYS, WRAPPER, InvalidRecords, read_keys
from collections_app.runs.incoming.files import Incoming, Unusable

_A_PAGE = "A page is a list of records: [{...}, {...}]."
_KNOWN_KEYS = {WRAPPER, "data", *ENVELOPE_KEYS}
_LARGEST_COUNT = 10
_LONGEST_NAME = 100


class SeveralLists(Unusable):
    """An object contains several lists of objects. The message names them."""


@dataclass
class _Lists:
    """The lists of objects in an object, and those of its keys that identify it."""

    names: list[str] = field(default_factory=list)
    count: int = 0
    known_keys: set[str] = field(default_factory=set)
    has_chosen: bool = False

    def shown(self) -> str:
        """Return the names for a message."""
        more = f" and {self.count - len(self.names):,} more" if self.count > len(self.names) else ""
        return ", ".join(map(_quoted, self.names)) + more


def with_list(file: Incoming, chosen: str | None, *, is_category: bool) -> Incoming:
    """Return a file that contains an object, with `records_at` set: by default, to its only list of objects.

    Raises SeveralLists, Unusable. A category's list may be in its usual wrapper; then it stays unset.
    """
    lists = _lists_in(file, chosen)
    if chosen is not None:
        if not lists.has_chosen:
            found = f"Its lists of objects: {lists.shown()}." if lists.names else "It has no list of objects."
            raise Unusable(f"{file.label} has no {_quoted(chosen)}. {found}")
        return replace(file, records_at=chosen)
    if is_category and (WRAPPER in lists.known_keys or not lists.names):
        return file  # Reading it reports what is wrong, and where.
    _check_keys(file, lists.known_keys)
    if not lists.names:
        raise Unusable(f"{file.label} is one object. {_A_PAGE} JSON Lines files need the extension .jsonl.")
    if lists.count > 1:
        raise SeveralLists(f"{file.label} contains {lists.count:,} lists of objects: {lists.shown()}.")
    return replace(file, records_at=lists.names[0])


@contextmanager
def naming(file: Incoming) -> Iterator[None]:
    """Add the file's name to errors in its content."""
    try:
        yield
    except InvalidRecords as error:
        raise Unusable(f"{file.label}, {error}.") from None


def _lists_in(file: Incoming, chosen: str | None) -> _Lists:
    lists = _Lists()
    with naming(file), file.open() as stream:
        for key, is_list in read_keys(stream):
            lists.known_keys |= _KNOWN_KEYS & {key}
            lists.has_chosen |= key == chosen
            lists.count += is_list
            if is_list and len(lists.names) < _LARGEST_COUNT:
                lists.names.append(key)
    return lists


def _check_keys(file: Incoming, keys: set[str]) -> None:
    if WRAPPER in keys:
        raise Unusable(f"{file.label} is a category list, and this collection scrapes products.")
    if keys >= {"data", *ENVELOPE_KEYS}:
        raise Unusable(
            f"{file.label} is an API response with a list of runs. Import the files that it links to. "
            f"{_A_PAGE}"
        )
    if keys >= ENVELOPE_KEYS:
        raise Unusable(f"{file.label} is an API response. {_A_PAGE}")


def _quoted(name: str) -> str:
    return f'"{printable(name[:_LONGEST_NAME])}{"..." if len(name) > _LONGEST_NAME else ""}"'
