"""When a run's files were last read again, and with what result."""

from datetime import timedelta
from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone

from collections_app.models.runs import Run

# Whoever verifies promises to be alive for so long, again and again; after that it is taken for dead.
_LEASE = timedelta(seconds=60)


class VerificationManager(models.Manager["Verification"]):
    """Lets one at a time verify a run."""

    def begin(self, run: Run, total: int) -> "Verification | None":
        """Take the run's verification, of `total` bytes; None where somebody is at it just now."""
        now = timezone.now()
        verification, _ = self.get_or_create(run=run)
        # A lease from the far future was taken before the clock was put back.
        nobodys = (
            Q(lease_expires_at=None) | Q(lease_expires_at__lte=now) | Q(lease_expires_at__gt=now + 2 * _LEASE)
        )
        mine = self.filter(nobodys, pk=verification.pk)
        if not mine.update(started_at=now, lease_expires_at=now + _LEASE, done=0, total=total):
            return None
        verification.refresh_from_db()
        return verification


class Verification(models.Model):
    """The last time that a run's files were read again, or the one that is under way."""

    run = models.OneToOneField(Run, on_delete=models.CASCADE, related_name="verification")
    started_at = models.DateTimeField(null=True)
    # Until when whoever verifies promised to be alive; none: nobody does.
    lease_expires_at = models.DateTimeField(null=True)
    done = models.PositiveBigIntegerField(default=0, help_text="In bytes.")
    total = models.PositiveBigIntegerField(default=0, help_text="In bytes.")
    finished_at = models.DateTimeField(null=True)
    problems = models.JSONField(default=list, help_text="What was wrong then, in a sentence each.")
    problem_count = models.PositiveIntegerField(default=0)

    objects: ClassVar[VerificationManager] = VerificationManager()

    def __str__(self) -> str:
        return f"Verification of {self.run}"

    @property
    def is_under_way(self) -> bool:
        """Whether somebody who is taken to be alive reads the files just now."""
        now = timezone.now()
        return self.lease_expires_at is not None and now < self.lease_expires_at <= now + 2 * _LEASE

    @property
    def unnamed_problems(self) -> int:
        """How many problems there were beyond those that are named."""
        return self.problem_count - len(self.problems)

    def note_progress(self, done: int) -> bool:
        """Note how many bytes were read. Returns whether the verification is still this one's."""
        return bool(self._mine().update(done=done, lease_expires_at=timezone.now() + _LEASE))

    def finish(self, problems: list[str], most_named: int) -> None:
        """Note the result."""
        self.problems, self.problem_count = problems[:most_named], len(problems)
        self.finished_at, self.lease_expires_at = timezone.now(), None
        self._mine().update(
            problems=self.problems,
            problem_count=self.problem_count,
            finished_at=self.finished_at,
            lease_expires_at=None,
        )

    def give_up(self) -> None:
        """Let somebody else verify; the last result stays."""
        self._mine().update(lease_expires_at=None)

    def _mine(self) -> models.QuerySet["Verification"]:
        return Verification.objects.filter(pk=self.pk, started_at=self.started_at)
