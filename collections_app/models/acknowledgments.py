"""Problems of collections, and their acknowledgments."""

from datetime import UTC, datetime

from django.db import models
from django.utils import timezone

from collections_app.models.collections import Collection
from collections_app.models.teams import User
from collections_app.models.validators import no_control_characters

# A time before any run.
NO_RUN = datetime.fromtimestamp(0, UTC)


class Problem(models.TextChoices):
    """Why a collection needs attention, the most urgent first."""

    FAILED = "failed", "Failed"  # or stalled
    LATE = "late", "Late"
    BROKEN = "broken", "Broken"  # or a member doesn't trust it
    EMPTY = "empty", "Empty"
    INCOMPLETE = "incomplete", "Incomplete"


class Acknowledgment(models.Model):
    """A note that the team knows about a collection's problem, so that it needs no attention.

    It covers the problems that the collection had when it was acknowledged: that of its last run, being late,
    or both. It covers no other problem: if incomplete runs are acknowledged, a failed run still needs
    attention. It ends when the day `until` begins in the team's time zone, or when a newer run completes with
    all records and isn't broken. After that, the same problem needs attention again.
    """

    LONGEST_NOTE = 300

    collection = models.OneToOneField(Collection, on_delete=models.CASCADE, related_name="acknowledgment")
    by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    note = models.CharField(max_length=LONGEST_NOTE, validators=[no_control_characters])
    created_at = models.DateTimeField(default=timezone.now)
    until = models.DateTimeField()
    # When the collection's last run was created, or NO_RUN.
    last_run_at = models.DateTimeField()
    run_problem = models.CharField(max_length=10, blank=True, choices=Problem.choices)
    covers_late = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=~models.Q(note=""), name="acknowledgment_has_a_note"),
            models.CheckConstraint(
                condition=models.Q(covers_late=True) | models.Q(run_problem__gt=""),
                name="acknowledgment_covers_a_problem",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.collection_id}: {self.note}"

    @property
    def covered(self) -> frozenset[Problem]:
        """The problems that are acknowledged."""
        of_run = [Problem(self.run_problem)] if self.run_problem else []
        return frozenset([*of_run, Problem.LATE] if self.covers_late else of_run)
