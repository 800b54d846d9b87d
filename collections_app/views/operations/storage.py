"""What uses space, by kind, team and collection. The worker measures it."""

import re
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.core.exceptions import BadRequest
from django.db.models import Count, Q, QuerySet, Sum
from django.urls import reverse

from collections_app.models import CollectionStorage, StorageKind, StorageUse, Team
from collections_app.views.page_size import PAGE_SIZE

# The rows of each list before "Load more".
_FIRST = 10
# The bytes and the id of the last row.
_KEY = re.compile(r"(\d{1,18})_(\d{1,18})", re.ASCII)


class Rows(NamedTuple):
    """A part of a list, and the address of the next part, or ""."""

    rows: list[Any]
    more: str


def use_by_kind() -> list[StorageUse]:
    """Return the space that each kind of data uses."""
    order = list(StorageKind)
    return sorted(StorageUse.objects.all(), key=lambda use: (order.index(StorageKind(use.kind)), use.machine))


def largest_teams(after: str) -> Rows:
    """Return the teams whose results use the most space, after the row with this key."""
    teams = Team.objects.filter(collections__storage__isnull=False).annotate(
        bytes=Sum("collections__storage__bytes"),
        files=Sum("collections__storage__files"),
        collection_count=Count("collections__storage"),
    )
    return _part("teams", teams, after)


def largest_collections(after: str) -> Rows:
    """Return the collections whose results use the most space, after the row with this key."""
    return _part("collections", CollectionStorage.objects.select_related("collection__team"), after)


def _part(name: str, found: "QuerySet[Any]", after: str) -> Rows:
    size = PAGE_SIZE if after else _FIRST
    rows = list(_after(found, after).order_by("-bytes", "pk")[: size + 1])
    if len(rows) <= size:
        return Rows(rows, "")
    last = rows[size - 1]
    return Rows(rows[:size], f"{reverse('operations')}?{urlencode({name: f'{last.bytes}_{last.pk}'})}")


def _after(found: "QuerySet[Any]", key: str) -> "QuerySet[Any]":
    if not key:
        return found
    match = _KEY.fullmatch(key)
    if match is None:
        raise BadRequest("Invalid position in the list. Go back to the Operations page.")
    size, pk = map(int, match.groups())
    return found.filter(Q(bytes__lt=size) | Q(bytes=size, pk__gt=pk))
