"""Files that contain one object: find the list of records in it."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace

from collections_app.files.names import printable
from collections_app.records.formats.json_records import (
    ENVELOPE_KEYS,
    WRAPPER,
    Content,
    InvalidRecords,
    JsonPath,
    read_paths,
)
from collections_app.runs.incoming.files import Incoming, Unusable
from collections_app.runs.incoming.forms import Form

_A_PAGE = "A page is a list of records: [{...}, {...}]."
_KNOWN_KEYS = {WRAPPER, "data", *ENVELOPE_KEYS}
_LARGEST_COUNT = 10
_LONGEST_NAME = 100


class NoListChosen(Unusable):
    """It is unclear which list in an object contains the records. The message names the lists."""


class _Paths:
    """A set of paths that keeps only the first ones, and counts the others."""

    def __init__(self) -> None:
        self.first: list[JsonPath] = []
        self.more = 0

    def add(self, path: JsonPath) -> None:
        if len(self.first) >= _LARGEST_COUNT:
            self.more += 1
        elif path not in self.first:
            self.first.append(path)

    def __len__(self) -> int:
        return len(self.first) + self.more

    def __str__(self) -> str:
        more = f" and {self.more:,} more" if self.more else ""
        return ", ".join(map(_quoted, self.first)) + more


class _Object:
    """A file that contains an object, and the lists in it."""

    def __init__(self, file: Incoming, chosen: str | None) -> None:
        self.label = file.label
        self.records = _Paths()  # lists of objects
        self.nested = _Paths()  # lists of objects within other objects
        self.empty = _Paths()
        self.known_keys: set[str] = set()
        self.chosen: JsonPath | None = None
        with naming(file), file.open() as stream:
            for path, content in read_paths(stream):
                self._add(path, content)
                if ".".join(path) == chosen:
                    self.chosen = path

    def _add(self, path: JsonPath, content: Content | None) -> None:
        self.known_keys |= _KNOWN_KEYS & {path[0]}
        if content is Content.RECORDS:
            (self.records if len(path) == 1 else self.nested).add(path)
        elif content is Content.NOTHING:
            self.empty.add(path)

    def chosen_path(self, chosen: str) -> JsonPath:
        """Return the path of the chosen list. Raises Unusable if it doesn't exist."""
        if self.chosen is None:
            raise Unusable(f"{self.label} has no list {_quoted((chosen,))}. {self._described()}")
        return self.chosen

    def page_path(self, known: Collection[JsonPath]) -> JsonPath:
        """Return the path of the list of records, if other files have theirs at the known paths.

        Raises NoListChosen, Unusable.
        """
        self._check_keys()
        lists = self._candidates(known)
        if len(lists) > 1:
            raise NoListChosen(f"{self.label} contains {len(lists):,} lists of objects: {lists}.")
        if lists:
            return lists.first[0]
        self._check_other_lists()
        if len(known) == 1:
            return next(iter(known))  # Reading it reports the value at this path, or that it is missing.
        raise Unusable(f"{self.label} is one object. {_A_PAGE} JSON Lines files need the extension .jsonl.")

    def category_path(self) -> JsonPath | None:
        """Return the path of a category's list, or None if it is in its usual wrapper, or nowhere.

        Reading it reports what is wrong. Raises NoListChosen, Unusable.
        """
        if WRAPPER in self.known_keys or not (self.records or self.nested or self.empty):
            return None
        return self.page_path(())

    def _candidates(self, known: Collection[JsonPath]) -> _Paths:
        lists = deepcopy(self.records)
        for path in self.empty.first:
            if path in known:
                lists.add(path)
        return lists

    def _check_other_lists(self) -> None:
        if self.nested or self.empty:
            raise NoListChosen(f"{self.label} is one object without a list of records. {self._described()}")

    def _check_keys(self) -> None:
        if WRAPPER in self.known_keys:
            raise Unusable(f"{self.label} is a category list, and this collection scrapes products.")
        if self.known_keys >= {"data", *ENVELOPE_KEYS}:
            raise Unusable(
                f"{self.label} is an API response with a list of runs. Import the files that it links to. "
                f"{_A_PAGE}"
            )
        if self.known_keys >= ENVELOPE_KEYS:
            raise Unusable(f"{self.label} is an API response. {_A_PAGE}")

    def _described(self) -> str:
        described = {
            "Its lists of objects": self.records,
            "Lists in other objects": self.nested,
            "Empty lists": self.empty,
        }
        found = " ".join(f"{name}: {paths}." for name, paths in described.items() if paths)
        return found or "It has no list of objects."


def with_lists(files: list[Incoming], chosen: str | None, *, is_category: bool) -> list[Incoming]:
    """Return the files. Set `records_at` of those that contain an object, by default to its list of objects.

    `chosen` is the path of that list, with dots between the keys. An empty list is only found by default if
    another file has its records at the same path. A category's list may be in its usual wrapper; then
    `records_at` stays unset. Raises NoListChosen, Unusable.
    """
    objects = {at: _Object(file, chosen) for at, file in enumerate(files) if file.form is Form.OBJECT}
    known = {found.records.first[0] for found in objects.values() if len(found.records) == 1}

    def path_in(found: _Object) -> JsonPath | None:
        if chosen is not None:
            return found.chosen_path(chosen)
        return found.category_path() if is_category else found.page_path(known)

    return [
        replace(file, records_at=path_in(objects[at])) if at in objects else file
        for at, file in enumerate(files)
    ]


@contextmanager
def naming(file: Incoming) -> Iterator[None]:
    """Add the file's name to errors in its content."""
    try:
        yield
    except InvalidRecords as error:
        raise Unusable(f"{file.label}, {error}.") from None


def _quoted(path: JsonPath) -> str:
    name = ".".join(path)
    return f'"{printable(name[:_LONGEST_NAME])}{"..." if len(name) > _LONGEST_NAME else ""}"'
