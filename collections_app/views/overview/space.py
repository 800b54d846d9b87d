"""How much space the team's results use, and how much is left."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Max, Q, Sum

from collections_app.models import CollectionStorage, StorageKind, StorageUse, Team
from collections_app.system import disk


@dataclass(frozen=True)
class TeamSpace:
    """Sizes in bytes. Before the first measurement, `measured_at` is None."""

    results: int  # of the team
    temporary: int  # of all teams, such as exports and caches
    measured_at: datetime | None
    free: int


def space_of(team: Team) -> TeamSpace:
    """Return the space that a team uses, in two queries."""
    is_temporary = Q(kind__in=[StorageKind.EXPORTS, StorageKind.TRACKING, StorageKind.CACHE])
    measured = StorageUse.objects.aggregate(
        temporary=Sum("bytes", filter=is_temporary, default=0),
        measured_at=Max("measured_at", filter=Q(kind=StorageKind.RESULTS)),
    )
    return TeamSpace(
        CollectionStorage.objects.of_team(team),
        measured["temporary"],
        measured["measured_at"],
        disk.tightest().free,
    )
