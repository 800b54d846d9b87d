"""Facts about the key of a collection, for its settings."""

from dataclasses import dataclass

from collections_app.models import Collection, Comparison, ComparisonState, TrackingSettings


@dataclass(frozen=True)
class KeyFacts:
    """The key, and the newest comparison of two runs with it."""

    tracking: TrackingSettings | None
    comparison: Comparison | None

    @property
    def volatile(self) -> list[str]:
        """The columns that changed in nearly all products."""
        return list(self.comparison.summary.get("volatile", [])) if self.comparison else []


def key_facts(collection: Collection) -> KeyFacts:
    """Return the facts that are in the database."""
    tracking = TrackingSettings.objects.filter(collection=collection).select_related("changed_by").first()
    return KeyFacts(tracking, _newest_comparison(collection, tracking) if tracking else None)


def _newest_comparison(collection: Collection, tracking: TrackingSettings) -> Comparison | None:
    found = Comparison.objects.filter(
        run__collection=collection, state=ComparisonState.READY, settings_version=tracking.version
    )
    order = ("-run__created_at", "-run__number", "-since__created_at", "-since__number")
    return found.select_related("run", "since").order_by(*order).first()
