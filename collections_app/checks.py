"""System checks of the storage and the secrets that the settings name.

They call other machines, so they run with Django's checks of the database: in `serve`, in `migrate`, and in
`check --database default`.
"""

import os
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as Caution
from django.db import connections

from collections_app.files.storage.base import describe_error, results
from collections_app.models import Account
from collections_app.models.time_zones import time_zones
from collections_app.sources.local import can_write_and_read
from collections_app.system.encryption import SecretUnreadable, decrypt


def check_results_storage(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Report a results storage that can't be read or written to."""
    if not (databases and settings.RESULTS_STORAGE_URL):
        return []
    try:
        results().check()
    except OSError as error:
        return [
            Error(
                f"The results storage can't be used: {describe_error(error)}.",
                hint="Check the host, bucket, folder, key and secret in RESULTS_STORAGE_URL. The key needs "
                "permission to list, read, write and delete objects.",
                id="results.E001",
            )
        ]
    try:
        problem = "" if can_write_and_read() else "the content read isn't the content written"
    except OSError as error:
        problem = describe_error(error)
    if not problem:
        return []
    return [
        Error(
            f"Results can't be written to the results storage: {problem}.",
            hint="The key in RESULTS_STORAGE_URL needs permission to read, write and delete objects. For a "
            "folder, check its owner and the free disk space.",
            id="results.E002",
        )
    ]


def check_time_zones(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Report a machine without a time zone database, on which no schedule can be computed."""
    if not databases or len(time_zones()) > 1:
        return []
    return [
        Error(
            "This machine has no time zone database.",
            hint="Install it with the system's package manager. The package is usually called tzdata.",
            id="results.E007",
        )
    ]


def check_shared_secrets(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Warn if machines that share a database could each create their own secrets."""
    if not any(connections[alias].vendor == "postgresql" for alias in databases or ()):
        return []
    given = {"SECRET_KEY": os.environ.get("SECRET_KEY"), "ENCRYPTION_KEYS": settings.ENCRYPTION_KEYS}
    missing = " and ".join(name for name, value in given.items() if not value)
    if not missing:
        return []
    return [
        Caution(
            f"{missing} not set: this machine uses the files in its data folder, {settings.DATA_DIR}.",
            hint="For a single machine, this is fine. If several share the database, set the same "
            "SECRET_KEY and ENCRYPTION_KEYS on all of them, for example those in the files secret_key and "
            "encryption_keys of the first machine's data folder.",
            id="results.W001",
        )
    ]


def check_stored_keys(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Report API keys of accounts that this machine can't decrypt."""
    found: list[CheckMessage] = []
    for alias in databases or ():
        connection = connections[alias]
        if Account._meta.db_table not in connection.introspection.table_names():
            continue  # nothing is stored yet
        stored = Account.objects.using(alias).exclude(encrypted_key="").order_by("pk")
        tokens = list(stored.values_list("encrypted_key", flat=True))
        unreadable = sum(not _is_readable(token) for token in tokens)
        if unreadable:
            # On PostgreSQL, another machine may have the right keys. With SQLite, there is no other machine.
            is_fatal = unreadable == len(tokens) and connection.vendor == "postgresql"
            found.append(_unreadable(unreadable, len(tokens), is_fatal=is_fatal))
    return found


def _is_readable(token: str) -> bool:
    try:
        decrypt(token)
    except SecretUnreadable:
        return False
    return True


def _unreadable(count: int, of: int, *, is_fatal: bool) -> CheckMessage:
    start_over = (
        "If they are lost, disconnect all accounts, so that admins can enter the API keys again: manage.py "
        "shell -c \"from collections_app.models import Account; Account.objects.update(encrypted_key='')\""
    )
    return (Error if is_fatal else Caution)(
        f"This machine can't decrypt the API keys of {count:,} of {of:,} connected accounts.",
        hint="Use the encryption keys of the machine where the accounts were connected: the same "
        "ENCRYPTION_KEYS, or the file encryption_keys from its data folder. "
        + (start_over if is_fatal else "If they are lost, admins have to enter the API keys again."),
        id="results.E003" if is_fatal else "results.W002",
    )
