"""The accounts of all teams, failing ones first."""

from collections.abc import Sequence
from typing import NamedTuple

from django.db.models import F, Max, Q
from django.utils import timezone

from collections_app.models import Account
from collections_app.models.outages import with_outages

_MOST = 50


class Accounts(NamedTuple):
    """The first accounts, and whether there are more."""

    shown: Sequence[Account]
    has_more: bool


def accounts() -> Accounts:
    """Return the accounts with their failures, and `wait_until` if one asks us to wait."""
    asked_to_wait = Q(collections__retry_at__gt=timezone.now())
    found = with_outages(Account.objects.select_related("team")).annotate(
        wait_until=Max("collections__retry_at", filter=asked_to_wait)
    )
    ordered = found.order_by(F("failing_since").asc(nulls_last=True), "team__name", "name")
    shown = list(ordered[: _MOST + 1])
    return Accounts(shown[:_MOST], len(shown) > _MOST)
