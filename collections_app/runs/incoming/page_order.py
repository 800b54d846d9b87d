"""The order of imported files: by the numbers in their names, as numbers."""

import re
from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import NamedTuple

from collections_app.files.names import PAGE_NUMBER
from collections_app.system.search_normalization import search_form

# The minus is a sign only where a name begins. Python converts up to 4,300 digits.
_NUMBER = re.compile(r"(?<![^/])-\d{1,4000}|\d{1,4000}")
# What differs between spellings of the same name: the word "page", numbers, and separators.
_SPELLING = re.compile(r"(?<![a-z])page(?![a-z])|#?\d+|[\s_.()\[\]-]+")


class NamedFile(NamedTuple):
    """The name of a file, and where it is: in a folder, a ZIP or both."""

    folder: str
    name: str


class _Key(NamedTuple):
    series: Hashable
    numbers: list[int]


def in_page_order(files: Sequence[NamedFile]) -> list[int]:
    """Return the indexes of the files in the order of their pages.

    Files are a series if their folders and names are the same except for numbers, separators, case and the
    word "page". The files of a series are sorted by all numbers, from left to right. They move only to each
    other's positions, so several series stay in the given order, and so do all other files.

    If each name contains its own id or title, there is no series. Then the number after the last "page"
    counts first. Files without it are a series if their names are the same up to the first number.
    """
    keys = [_key(file) for file in files]
    if len({key.series for key in keys}) == len(files):
        keys = [_key_despite_titles(file) for file in files]
    positions = defaultdict(list)
    for at, key in enumerate(keys):
        positions[key.series].append(at)
    order = list(range(len(files)))
    for own in positions.values():
        for at, index in zip(own, sorted(own, key=lambda index: keys[index].numbers), strict=True):
            order[at] = index
    return order


def _key(file: NamedFile) -> _Key:
    path = _path(file)
    return _Key(_without_spelling(path), _numbers(path))


def _key_despite_titles(file: NamedFile) -> _Key:
    name, numbers = search_form(file.name), _numbers(_path(file))
    if page := PAGE_NUMBER.findall(name):
        return _Key(None, [int(page[-1]), *numbers])
    beginning = _NUMBER.split(name, maxsplit=1)[0]
    return _Key((_without_spelling(search_form(file.folder)), _without_spelling(beginning)), numbers)


def _path(file: NamedFile) -> str:
    return search_form(f"{file.folder}/{file.name}")


def _numbers(path: str) -> list[int]:
    return list(map(int, _NUMBER.findall(path)))


def _without_spelling(path: str) -> str:
    return _SPELLING.sub("", path)
