"""Mail that is waiting to be sent."""

from typing import ClassVar

from django.db import models
from django.utils import timezone


class OutgoingMail(models.Model):
    """A queued email. Its row is deleted when the mail server accepts the email, or when it expires."""

    # The data that the mail is composed from, as JSON. It may contain a link that lets someone sign in.
    encrypted_data = models.TextField(editable=False)
    tries = models.PositiveIntegerField(default=0, editable=False)
    problem = models.CharField(
        max_length=200, blank=True, editable=False, help_text="Why the last try failed."
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    due_at = models.DateTimeField(
        editable=False,
        help_text="When to try next. While a worker is sending the mail, when another one may take over.",
    )
    expires_at = models.DateTimeField(editable=False)

    objects: ClassVar[models.Manager["OutgoingMail"]] = models.Manager()

    def __str__(self) -> str:
        return f"Mail {self.pk}"


class FailedMail(models.Model):
    """An email that wasn't sent and won't be tried again. Its content and recipient aren't kept."""

    tries = models.PositiveIntegerField(editable=False)
    problem = models.CharField(max_length=200, editable=False)
    failed_at = models.DateTimeField(editable=False)

    objects: ClassVar[models.Manager["FailedMail"]] = models.Manager()

    def __str__(self) -> str:
        return f"Failed mail {self.pk}"
