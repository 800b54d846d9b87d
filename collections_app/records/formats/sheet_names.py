"""The names of sheets in a workbook, as Excel accepts them."""

import re

# Limits of Excel (support.microsoft.com, "Rename a worksheet").
LONGEST = 31  # UTF-16 code units
_REFUSED = re.compile(r"[\[\]:*?/\\\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
# Excel uses this name itself.
_RESERVED = "history"


class SheetNames:
    """The names of a workbook's sheets. No two differ only in case."""

    def __init__(self) -> None:
        self._taken = {_RESERVED}
        self._numbers: dict[str, int] = {}  # the last number used, by the name without it

    def add(self, name: str) -> str:
        """Take and return the name, or the nearest one that is valid and free."""
        plain = _valid(name, LONGEST)
        number = self._numbers.get(plain.casefold(), 1)
        while (free := _numbered(plain, number)).casefold() in self._taken:
            number += 1
        self._numbers[plain.casefold()] = number
        self._taken.add(free.casefold())
        return free


def _numbered(name: str, number: int) -> str:
    if number == 1:
        return name
    ending = f" {number}"
    return _valid(name, LONGEST - len(ending)) + ending


def _valid(name: str, room: int) -> str:
    """Return a name of at most `room` UTF-16 code units. It neither begins nor ends with an apostrophe."""
    allowed = _REFUSED.sub("_", name).encode("utf-16-le")[: 2 * room].decode("utf-16-le", "ignore")
    return allowed.strip(" '") or "_"
