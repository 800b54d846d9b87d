"""A team's accounts at MultiCartAPI, whose runs are shown next to our own."""

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone

from collections_app.models.teams import Team
from collections_app.models.validators import NAME_VALIDATORS
from collections_app.system import encryption

_SHOWN_OF_A_KEY = 4


class NotConnected(Exception):
    """The account has no readable key. The message says what to do."""


class Account(models.Model):
    """An account at MultiCartAPI, or at another server with the same API.

    An account without a key is disconnected: its collections keep their rows, and the account isn't called
    until it gets a new key.
    """

    DEFAULT_BASE_URL = "https://multicartapi.com/api/v1"
    # The longest time, in seconds, that an account can make us wait.
    LONGEST_RETRY_AFTER = 3600

    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="accounts")
    name = models.CharField(max_length=100, validators=NAME_VALIDATORS)
    base_url = models.CharField("base address", max_length=300, default=DEFAULT_BASE_URL)
    encrypted_key = models.TextField(blank=True, editable=False)
    key_ending = models.CharField(max_length=_SHOWN_OF_A_KEY, blank=True, editable=False)
    tracks_runs = models.BooleanField(
        "compares runs", default=True, help_text="Download the records of new runs to compare them."
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    # Whether an event says that the account is unavailable.
    announced_outage = models.BooleanField(default=False, editable=False)

    objects: ClassVar[models.Manager["Account"]] = models.Manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["team", "name"], name="account_name_once_per_team"),
            models.CheckConstraint(
                condition=~Q(name="") & ~Q(base_url=""), name="account_has_name_and_address"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_connected(self) -> bool:
        """Whether the account has a key."""
        return bool(self.encrypted_key)

    @property
    def masked_key(self) -> str:
        """The key as it may be shown: only its last characters, or none of a short key."""
        return f"••••••••{self.key_ending}" if self.encrypted_key else ""

    @property
    def key(self) -> str:
        """The key, only for calls to the account. Raises NotConnected."""
        if not self.encrypted_key:
            raise NotConnected(f"The account “{self}” is disconnected. Ask an admin to enter a new key.")
        try:
            return encryption.decrypt(self.encrypted_key)
        except encryption.SecretUnreadable:
            return self._key_as_stored_now()

    def _key_as_stored_now(self) -> str:
        # The encryption keys may have been rotated since the row was read.
        stored = Account.objects.filter(pk=self.pk).values_list("encrypted_key", flat=True).first()
        try:
            return encryption.decrypt(stored or "")
        except encryption.SecretUnreadable:
            raise NotConnected(
                f"The key of the account “{self}” can no longer be read. Ask an admin to enter it again."
            ) from None

    def set_key(self, key: str) -> None:
        """Set the key, or disconnect if it is "". Doesn't save."""
        self.encrypted_key = encryption.encrypt(key) if key else ""
        self.key_ending = key[-_SHOWN_OF_A_KEY:] if len(key) >= 4 * _SHOWN_OF_A_KEY else ""
