"""`rotate_encryption_keys`: encrypt the secrets in the database with a new key."""

from contextlib import suppress
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, transaction
from django.template.defaultfilters import pluralize

from collections_app.management.arguments import database_problem, shown
from collections_app.models import Account, OutgoingMail, Team
from collections_app.system import encryption


class Command(BaseCommand):
    """Re-encrypts every account's key and all queued mail with a new key."""

    help = (
        "Re-encrypt the API keys of all accounts and all queued mail with a new encryption key. Without "
        "ENCRYPTION_KEYS, the new key is created in the data folder, and old keys are removed from there "
        "once nothing needs them. With ENCRYPTION_KEYS, everything is encrypted with the first of them: put "
        "the new one in front, restart the site, run this, then remove the others. The site can keep "
        "running. If the command is interrupted, run it again."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Rotate, and say what was done."""
        try:
            self._rotate()
        except OperationalError as error:
            raise CommandError(
                f"{database_problem(error)} Nothing is lost; rotate again once it can."
            ) from None
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from None
        except OSError as error:
            raise CommandError(
                f"The keys can't be written ({error.strerror}). Nothing is lost; rotate again once they can."
            ) from None

    def _rotate(self) -> None:
        # The new key is there before anything needs it, and the old ones are until nothing does: at every
        # moment each secret can be read. Whoever reads one has the list of keys read anew.
        with transaction.atomic():
            _keep_others_out()
            encryption.add_key()
            done, unreadable = _reencrypt()
            _reencrypt_mail()
        self.stdout.write(f"Encrypted the key{pluralize(done)} of {done} account{pluralize(done)} anew.")
        if unreadable:
            raise CommandError(
                "None of the encryption keys reads what is stored for: "
                + ", ".join(f"{shown(each.name)} of {shown(each.team.name)}" for each in unreadable)
                + ". It was left as it is, and the old encryption keys stay. Bring back the one that is "
                "missing, or have an admin of the team enter the account's key again or disconnect it. "
                "Then rotate again."
            )
        if settings.ENCRYPTION_KEYS:
            self.stdout.write("All but the first of ENCRYPTION_KEYS may be removed now.")
        else:
            with transaction.atomic():
                _keep_others_out()
                # Mail may have been encrypted with the old key and queued since then.
                _reencrypt_mail()
                encryption.drop_old_keys()
            self.stdout.write("Dropped the old encryption keys.")


def _keep_others_out() -> None:
    """Let nobody give an account a key, and no other rotation run, until the transaction ends."""
    # SQLite has one writer anyway; elsewhere this waits for whoever holds a team, as access.confirm does.
    list(Team.objects.select_for_update().order_by("pk").values_list("pk"))


def _reencrypt() -> tuple[int, list[Account]]:
    """Return how many accounts' keys were encrypted with the first key, and whose couldn't be read."""
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


def _reencrypt_mail() -> None:
    """Re-encrypt queued mail with the first key. The worker drops mail that no key can decrypt."""
    for mail in OutgoingMail.objects.select_for_update().order_by("pk"):
        with suppress(encryption.SecretUnreadable):
            mail.encrypted_data = encryption.reencrypt(mail.encrypted_data)
            mail.save(update_fields=["encrypted_data"])
