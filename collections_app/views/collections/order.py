"""The sort orders of lists of collections, which are paged by sort key."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from django.core.exceptions import BadRequest
from django.db.models import F, OuterRef, Q, Subquery

from collections_app.models import Collection, Run, State
from collections_app.models.collections import CollectionQuerySet
from collections_app.models.conditions import Condition, conditions_of, prefetch_conditions
from collections_app.views.page_size import PAGE_SIZE

URGENCY = "state"
ORDERS = {
    "name": "Sort by name",
    "id": "Sort by ID",
    URGENCY: "Sort by urgency",
    "recent": "Sort by last run",
    "records": "Sort by records",
}

_KEYS = {
    "name": re.compile(r"(?P<pk>\d{1,18})_(?P<name>[^\0]*)", re.ASCII),
    "id": re.compile(r"(?P<pk>\d{1,18})", re.ASCII),
    URGENCY: re.compile(r"(?P<pk>\d{1,18})_(?P<urgency>\d)_(?P<name>[^\0]*)", re.ASCII),
    "recent": re.compile(r"(?P<pk>\d{1,18})_(?P<value>\d{1,17})?", re.ASCII),
    "records": re.compile(r"(?P<pk>\d{1,18})_(?P<value>\d{1,18})?", re.ASCII),
}


class Page(NamedTuple):
    """A page of a list. `condition`, `details` and `latest_run` of the collections are set."""

    collections: list[Collection]
    next_key: str  # the sort key after which the next page begins, or "" on the last page


def page_of(
    found: CollectionQuerySet, order: str, after: str, known: Mapping[int, Condition] | None = None
) -> Page:
    """Return the first page of collections in that order, or the page after a sort key. Raises BadRequest.

    `known` are the conditions of collections, sorted by name, if they were read before. An index yields the
    runs by which collections are sorted, so nothing is denormalized.
    """
    key = _parse(order, after) if after else None
    if order == URGENCY:
        known = conditions_of(found.by_name()) if known is None else known
        rows = _most_urgent(found, known, key)
    else:
        rows = list(_QUERIES[order](found, key)[: PAGE_SIZE + 1])
    shown = rows[:PAGE_SIZE]
    prefetch_conditions(shown, known)
    return Page(shown, _key_of(shown[-1], order) if len(rows) > PAGE_SIZE else "")


def _key_of(collection: Collection, order: str) -> str:
    """Return the sort key of a collection whose condition is set."""
    if order == "id":
        return f"{collection.pk}"
    if order == URGENCY:
        return f"{collection.pk}_{collection.condition.urgency}_{collection.name}"
    if order == "name":
        return f"{collection.pk}_{collection.name}"
    value = collection.sort_value  # type: ignore[attr-defined]
    return f"{collection.pk}_{'' if value is None else _number(value)}"


def _parse(order: str, text: str) -> dict[str, str]:
    match = _KEYS[order].fullmatch(text)
    if match is None:
        raise BadRequest("Invalid “after” parameter. Go back to the first collections.")
    return match.groupdict()


def _most_urgent(
    found: CollectionQuerySet, known: Mapping[int, Condition], key: dict[str, str] | None
) -> list[Collection]:
    """Return the first collections by urgency, then name. models/conditions.py has the rule."""
    urgencies = {pk: condition.urgency for pk, condition in known.items()}
    if key:
        last = int(key["urgency"])
        following = set(found.after(key["name"], int(key["pk"])).values_list("pk", flat=True))
        urgencies = {pk: each for pk, each in urgencies.items() if (each, pk in following) > (last, False)}
    ids = sorted(urgencies, key=urgencies.__getitem__)[: PAGE_SIZE + 1]
    by_id = found.in_bulk(ids)
    return [by_id[pk] for pk in ids if pk in by_id]  # one may have been deleted since


def _by_name(found: CollectionQuerySet, key: dict[str, str] | None) -> CollectionQuerySet:
    return (found.after(key["name"], int(key["pk"])) if key else found).by_name()


def _by_id(found: CollectionQuerySet, key: dict[str, str] | None) -> CollectionQuerySet:
    return (found.filter(pk__gt=key["pk"]) if key else found).order_by("pk")


def _by_latest_run(found: CollectionQuerySet, key: dict[str, str] | None) -> CollectionQuerySet:
    runs = Run.objects.filter(collection=OuterRef("pk"))
    return _descending(found.annotate(sort_value=_of_newest(runs, "created_at")), key, _time)


def _by_records(found: CollectionQuerySet, key: dict[str, str] | None) -> CollectionQuerySet:
    ready = Run.objects.filter(collection=OuterRef("pk"), state=State.READY)
    return _descending(found.annotate(sort_value=_of_newest(ready, "extracted")), key, int)


def _of_newest(runs: Any, field: str) -> Subquery:
    return Subquery(runs.newest_first().values(field)[:1])


def _descending(
    found: CollectionQuerySet, key: dict[str, str] | None, read: Callable[[str], object]
) -> CollectionQuerySet:
    """Sort by `sort_value`, the largest first and unknown ones last."""
    if key and key["value"]:
        value = read(key["value"])
        found = found.filter(
            Q(sort_value__lt=value) | Q(sort_value=value, pk__gt=key["pk"]) | Q(sort_value__isnull=True)
        )
    elif key:
        found = found.filter(Q(sort_value__isnull=True), pk__gt=key["pk"])
    return found.order_by(F("sort_value").desc(nulls_last=True), "pk")


_QUERIES = {"name": _by_name, "id": _by_id, "recent": _by_latest_run, "records": _by_records}


def _number(value: datetime | int) -> int:
    """Return a number, or a time in microseconds."""
    if isinstance(value, int):
        return value
    return (value - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)


def _time(microseconds: str) -> datetime:
    seconds, rest = divmod(int(microseconds), 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)
