"""The last verification of each run's files."""

from datetime import timedelta
from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone

from collections_app.models.runs import Run

# A verification renews its lease while it runs. When the lease expires, another one may start.
_LEASE = timedelta(seconds=60)


class VerificationManager(models.Manager["Verification"]):
    """Allows one verification of a run at a time."""

    def begin(self, run: Run, total: int) -> "Verification | None":
        """Start verifying `total` bytes, or return None if the run is already being verified."""
        now = timezone.now()
        verification, _ = self.get_or_create(run=run)
        # A lease that ends in the far future was taken before the clock was set back.
        is_free = (
            Q(lease_expires_at=None) | Q(lease_expires_at__lte=now) | Q(lease_expires_at__gt=now + 2 * _LEASE)
        )
        mine = self.filter(is_free, pk=verification.pk)
        if not mine.update(started_at=now, lease_expires_at=now + _LEASE, done=0, total=total):
            return None
        verification.refresh_from_db()
        return verification


class Verification(models.Model):
    """The current or last verification of a run's files."""

    run = models.OneToOneField(Run, on_delete=models.CASCADE, related_name="verification")
    started_at = models.DateTimeField(null=True)
    # NULL if the run isn't being verified.
    lease_expires_at = models.DateTimeField(null=True)
    done = models.PositiveBigIntegerField(default=0, help_text="In bytes.")
    total = models.PositiveBigIntegerField(default=0, help_text="In bytes.")
    finished_at = models.DateTimeField(null=True)
    problems = models.JSONField(default=list, help_text="One sentence for each problem.")
    problem_count = models.PositiveIntegerField(default=0)

    objects: ClassVar[VerificationManager] = VerificationManager()

    def __str__(self) -> str:
        return f"Verification of {self.run}"

    @property
    def is_under_way(self) -> bool:
        """Whether the files are being verified now."""
        now = timezone.now()
        return self.lease_expires_at is not None and now < self.lease_expires_at <= now + 2 * _LEASE

    @property
    def unnamed_problems(self) -> int:
        """The number of problems beyond those in `problems`."""
        return self.problem_count - len(self.problems)

    def note_progress(self, done: int) -> bool:
        """Save the number of bytes that were read. Return False if another verification has started."""
        return bool(self._mine().update(done=done, lease_expires_at=timezone.now() + _LEASE))

    def finish(self, problems: list[str], most_named: int) -> None:
        """Save the result."""
        self.problems, self.problem_count = problems[:most_named], len(problems)
        self.finished_at, self.lease_expires_at = timezone.now(), None
        self._mine().update(
            problems=self.problems,
            problem_count=self.problem_count,
            finished_at=self.finished_at,
            lease_expires_at=None,
        )

    def give_up(self) -> None:
        """Let another process verify the run. The last result stays."""
        self._mine().update(lease_expires_at=None)

    def _mine(self) -> models.QuerySet["Verification"]:
        return Verification.objects.filter(pk=self.pk, started_at=self.started_at)
