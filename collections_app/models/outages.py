"""Accounts that fail to list the runs of some of their collections."""

from django.db.models import Count, Exists, Max, Min, OuterRef, Q, QuerySet, Subquery

from collections_app.models.accounts import Account
from collections_app.models.collections import Collection
from collections_app.models.teams import Team

_CURRENT = Q(collections__archived_at=None)
_FAILING = _CURRENT & ~Q(collections__refresh_problem="")


def with_outages(accounts: QuerySet[Account]) -> QuerySet[Account]:
    """Annotate accounts with how many of their `current_count` collections fail, and with the first failure.

    `failing_count`, `failing_since` and `refresh_problem` describe the failures, and `updated_at` is the time
    of the newest list. Archived collections aren't counted.
    """
    first = _failing_collections().order_by("failing_since", "pk")[:1]
    return accounts.annotate(
        current_count=Count("collections", filter=_CURRENT),
        failing_count=Count("collections", filter=_FAILING),
        failing_since=Min("collections__failing_since", filter=_FAILING),
        refresh_problem=Subquery(first.values("refresh_problem")),
        updated_at=Max("collections__refreshed_at"),
    )


def outages(team: Team) -> QuerySet[Account]:
    """Return the team's accounts that fail for at least one collection, by name."""
    return with_outages(team.accounts.filter(Exists(_failing_collections()))).order_by("name")


def _failing_collections() -> QuerySet[Collection]:
    return Collection.objects.current().filter(account=OuterRef("pk")).exclude(refresh_problem="")
