"""The query of the page of changes: the earlier run, which changes to show, and their order."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from urllib.parse import urlencode

from django.core.exceptions import BadRequest
from django.http import QueryDict

from collections_app.models import Collection
from collections_app.records.preview.search import LONGEST_SEARCH
from collections_app.records.tracking.change_queries import SORTS, ChangeQuery
from collections_app.records.tracking.kinds import ChangeKind

_LONGEST_COLUMN = 500
_MOST_DIGITS = 12
_KINDS = frozenset(ChangeKind)
_EMPTY: tuple[object, ...] = ("", None, [], 0)


@dataclass(frozen=True)
class RemovableFilter:
    """A filter in words, and the query string without it."""

    words: str
    removed: str


@dataclass(frozen=True)
class ChangesQuery:
    """The changes to show since an earlier run."""

    since: int | None  # the number of the earlier run, or None for the default
    changes: ChangeQuery
    is_watched: bool = False  # only the products of the watchlist

    @property
    def is_narrowed(self) -> bool:
        """Whether it may leave out changes."""
        return self.changes.is_narrowed

    @property
    def shows_not_scraped(self) -> bool:
        """Whether it shows all products that were not scraped."""
        kinds, others = self.changes.kinds, replace(self.changes, kinds=())
        are_all = not others.is_narrowed and not others.is_volatile
        return are_all and (not kinds or ChangeKind.NOT_SCRAPED in kinds)

    @property
    def parameters(self) -> dict[str, object]:
        """The URL parameters of this query, except for `after`. Some are empty."""
        changes = self.changes
        return {
            "since": self.since,
            "what": [kind.value for kind in changes.kinds],
            "column": changes.column,
            "min_percent": changes.min_percent,
            "min_amount": changes.min_amount,
            "q": changes.text,
            "watched": int(self.is_watched),
            "volatile": int(changes.is_volatile),
            "sort": changes.sort,
            "dir": "desc" if changes.descending else "",
        }

    def address(self, **changes: object) -> str:
        """Return the query string with some parameters changed. Empty ones are left out."""
        parameters = self.parameters | changes
        given = {name: value for name, value in parameters.items() if value not in _EMPTY}
        return "?" + urlencode(given, doseq=True)

    @property
    def again(self) -> str:
        """The query string that repeats this query."""
        return self.address(after=self.changes.after)

    @property
    def from_start(self) -> str:
        """The query string for the first of these changes."""
        return self.address()

    @property
    def all(self) -> str:
        """The query string for all changes, in the same order."""
        return self.address(what=[], column="", min_percent=None, min_amount=None, q="", watched=0)

    @property
    def volatile(self) -> str:
        """The query string for the changes of volatile columns."""
        return self.address(
            what=[], column="", min_percent=None, min_amount=None, q="", watched=0, volatile=1
        )

    @property
    def stable(self) -> str:
        """The query string for the changes of the other columns."""
        return self.address(column="", volatile=0)

    def of_kind(self, kind: ChangeKind) -> str:
        """Return the query string for the changes of a kind, or of all kinds if it is the chosen one."""
        return self.address(what=[] if self.changes.kinds == (kind,) else kind.value)

    @property
    def filters(self) -> list["RemovableFilter"]:
        """The filters of columns and prices, in words."""
        changes = self.changes
        texts = {
            "column": changes.column,
            "min_percent": "" if changes.min_percent is None else f"At least {changes.min_percent}%",
            "min_amount": "" if changes.min_amount is None else f"At least {changes.min_amount} in price",
            "watched": "On the watchlist" if self.is_watched else "",
        }
        return [RemovableFilter(text, self.address(**{name: ""})) for name, text in texts.items() if text]

    def sorted_by(self, column: str) -> str:
        """Return the query string that sorts by a column, in the other direction if it already does."""
        is_reversed = self.changes.sort == column and not self.changes.descending
        return self.address(sort=column, dir="desc" if is_reversed else "")


def read_query(values: QueryDict, collection: Collection) -> ChangesQuery:
    """Return the query in URL parameters for a collection. Raises BadRequest."""
    changes, is_watched = _read_changes(values), values.get("watched") == "1"
    if is_watched:
        keys = collection.watchlist.order_by("key").values_list("key", flat=True)
        changes = replace(changes, keys=tuple(keys))
    return ChangesQuery(
        since=_whole_number(values, "since") if values.get("since") else None,
        changes=changes,
        is_watched=is_watched,
    )


def _read_changes(values: QueryDict) -> ChangeQuery:
    sort = values.get("sort", "")
    if sort and sort not in SORTS:
        raise BadRequest(f"Unknown “sort” parameter. Use one of: {', '.join(SORTS)}.")
    return ChangeQuery(
        kinds=_kinds(values.getlist("what")),
        column=_text(values, "column", _LONGEST_COLUMN),
        min_percent=_minimum(values, "min_percent"),
        min_amount=_minimum(values, "min_amount"),
        text=_text(values, "q", LONGEST_SEARCH),
        is_volatile=values.get("volatile") == "1",
        sort=sort,
        descending=values.get("dir") == "desc",
        after=_whole_number(values, "after") if values.get("after") else 0,
    )


def _kinds(names: Sequence[str]) -> tuple[ChangeKind, ...]:
    if not _KINDS.issuperset(names):
        raise BadRequest(f"Unknown “what” parameter. Use one of: {', '.join(ChangeKind)}.")
    return tuple(map(ChangeKind, dict.fromkeys(names)))


def _text(values: QueryDict, name: str, longest: int) -> str:
    text = values.get(name, "").replace("\0", "").strip()
    if len(text) > longest:
        raise BadRequest(f"The “{name}” parameter is too long. Use at most {longest} characters.")
    return text


def _whole_number(values: QueryDict, name: str) -> int:
    text = values.get(name, "")
    if not (text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS):
        raise BadRequest(f"Invalid “{name}” parameter. It must be a whole number.")
    return int(text)


def _minimum(values: QueryDict, name: str) -> Decimal | None:
    text = values.get(name, "").strip()
    number = _decimal(text) if text else None
    if text and number is None:
        raise BadRequest(f"Invalid “{name}” parameter. It must be a number from 0, such as 5 or 2.5.")
    return number


def _decimal(text: str) -> Decimal | None:
    """Return a number that isn't negative, or None."""
    try:
        number = Decimal(text) if len(text) <= _MOST_DIGITS else None
    except InvalidOperation:
        return None
    return number if number is not None and number.is_finite() and number >= 0 else None
