"""The order of imported files: by the numbers in their names, as numbers."""

from collections.abc import Sequence
from typing import NamedTuple

from collections_app.files.names import NUMBER, PAGE_NUMBER

_Key = tuple[list[int], list[int]]


class NamedFile(NamedTuple):
    """The name of a file, and where it is: in a folder, a ZIP or both."""

    folder: str
    name: str


def in_page_order(files: Sequence[NamedFile]) -> list[int]:
    """Return the indexes of the files in the order of their pages.

    The number after the last "page" in a name counts first, then all of its numbers from left to right. If
    several folders contain the same names, the numbers of the folders count before that. A name without a
    number comes before the same name with one (results.json, results (1).json). All others without a number
    stay where they are.
    """
    has_repeated_names = len({file.name for file in files}) < len(files)
    keys = [_key(file, with_folder=has_repeated_names) for file in files]
    series = {_letters(file.name) for file, key in zip(files, keys, strict=True) if any(key)}
    moving = [
        at
        for at, (file, key) in enumerate(zip(files, keys, strict=True))
        if any(key) or _letters(file.name) in series
    ]
    order = list(range(len(files)))
    for at, index in zip(moving, sorted(moving, key=keys.__getitem__), strict=True):
        order[at] = index
    return order


def _key(file: NamedFile, *, with_folder: bool) -> _Key:
    numbers = list(map(int, NUMBER.findall(file.name)))
    # Without "page", the first number counts first.
    page = PAGE_NUMBER.findall(file.name)[-1:] or numbers[:1]
    return (
        list(map(int, NUMBER.findall(file.folder))) if with_folder else [],
        [*map(int, page), *numbers],
    )


def _letters(name: str) -> str:
    return "".join(filter(str.isalpha, name.casefold()))
