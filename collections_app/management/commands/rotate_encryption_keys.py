"""Encrypt the secrets in the database with a new key."""

from contextlib import suppress
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, transaction
from django.db.models import Model
from django.template.defaultfilters import pluralize

from collections_app.management.arguments import database_problem, shown
from collections_app.models import Account, Channel, OutgoingMail, Team
from collections_app.system import encryption

_OTHERS: dict[type[Model], list[str]] = {
    OutgoingMail: ["encrypted_data"],
    Channel: ["encrypted_url", "encrypted_secret", "encrypted_old_secret"],
}


class Command(BaseCommand):
    """Re-encrypts the keys of accounts, the secrets of channels and queued mail with a new key."""

    help = (
        "Re-encrypt the API keys of all accounts, the URLs and signing keys of channels, and all queued mail "
        "with a new encryption key. Without ENCRYPTION_KEYS, create the new key in the data folder, and "
        "remove the old ones when nothing needs them. With ENCRYPTION_KEYS, use its first key: add a new key "
        "in front, restart the site, run this command, then remove the other keys. The site can keep "
        "running. If the command is interrupted, run it again."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Rotate the keys and print what was done."""
        try:
            self._rotate()
        except OperationalError as error:
            raise CommandError(
                f"{database_problem(error)} Nothing was lost. Fix the problem and try again."
            ) from None
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from None
        except OSError as error:
            raise CommandError(
                f"The keys can't be written ({error.strerror}). Nothing was lost. Fix the problem and try "
                "again."
            ) from None

    def _rotate(self) -> None:
        # The new key exists before anything needs it, and the old ones until nothing does, so every secret
        # can be decrypted at any time. Each decryption reads the list of keys again.
        with transaction.atomic():
            _lock_teams()
            encryption.add_key()
            done, unreadable = _reencrypt()
            _reencrypt_others()
        self.stdout.write(f"Re-encrypted the key{pluralize(done)} of {done} account{pluralize(done)}.")
        if unreadable:
            raise CommandError(
                "No encryption key can decrypt the keys of these accounts: "
                + ", ".join(f"{shown(each.name)} of {shown(each.team.name)}" for each in unreadable)
                + ". They were not changed, and the old encryption keys are kept. Restore the missing "
                "encryption key, or ask an admin of the team to enter the account's key again or "
                "disconnect the account. Then run rotate_encryption_keys again."
            )
        if settings.ENCRYPTION_KEYS:
            self.stdout.write("You can now remove all but the first key from ENCRYPTION_KEYS.")
        else:
            with transaction.atomic():
                _lock_teams()
                # Others may have been encrypted with the old key since then.
                _reencrypt_others()
                encryption.drop_old_keys()
            self.stdout.write("Removed the old encryption keys.")


def _lock_teams() -> None:
    """Block changes to account keys and other rotations until the transaction ends."""
    # SQLite has only one writer. Elsewhere, changes to account keys lock the team too (access.confirm).
    list(Team.objects.select_for_update().order_by("pk").values_list("pk"))


def _reencrypt() -> tuple[int, list[Account]]:
    """Return the number of re-encrypted keys, and the accounts whose keys can't be decrypted."""
    done, unreadable = 0, []
    accounts = Account.objects.exclude(encrypted_key="").select_for_update(of=["self"])
    for account in accounts.select_related("team").order_by("pk"):
        try:
            account.encrypted_key = encryption.reencrypt(account.encrypted_key)
        except encryption.SecretUnreadable:
            unreadable.append(account)
        else:
            account.save(update_fields=["encrypted_key"])
            done += 1
    return done, unreadable


def _reencrypt_others() -> None:
    """Re-encrypt queued mail and the secrets of channels with the first key.

    The worker drops mail that no key can decrypt, and switches such channels off.
    """
    for model, columns in _OTHERS.items():
        for row in model._default_manager.select_for_update().order_by("pk"):
            for column in columns:
                with suppress(encryption.SecretUnreadable):
                    if getattr(row, column):
                        setattr(row, column, encryption.reencrypt(getattr(row, column)))
            row.save(update_fields=columns)
