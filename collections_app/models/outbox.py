"""Mail that waits to be sent."""

from typing import ClassVar

from django.db import models
from django.utils import timezone


class OutgoingMail(models.Model):
    """A mail that waits to be sent. The row is deleted once the mail server accepts it or it expires."""

    # What the mail is made from, as JSON. It may hold a link that opens an account.
    encrypted_data = models.TextField(editable=False)
    tries = models.PositiveIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    due_at = models.DateTimeField(
        editable=False,
        help_text="When to try next. While a worker sends the mail: when another one may.",
    )
    expires_at = models.DateTimeField(editable=False)

    objects: ClassVar[models.Manager["OutgoingMail"]] = models.Manager()

    def __str__(self) -> str:
        return f"Mail {self.pk}"
