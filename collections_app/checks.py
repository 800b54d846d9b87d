"""What is looked at when the site starts: whether its settings lead to something that works.

It takes a look at other machines, so it runs where Django looks at the database as well: in `serve` and
`migrate`, and in `check --database default`.
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
from collections_app.sources.local import can_write_and_read
from collections_app.system.encryption import SecretUnreadable, decrypt


def check_results_storage(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Say where the results storage that the settings name can't be used."""
    if not (databases and settings.RESULTS_STORAGE_URL):
        return []
    try:
        results().check()
    except OSError as error:
        return [
            Error(
                f"The results storage can't be used: {describe_error(error)}.",
                hint="Look at RESULTS_STORAGE_URL: its host, its bucket or folder, its key and secret; and "
                "whether the key may list, read, write and delete.",
                id="results.E001",
            )
        ]
    try:
        problem = "" if can_write_and_read() else "what is read isn't what was written"
    except OSError as error:
        problem = describe_error(error)
    if not problem:
        return []
    return [
        Error(
            f"Results can't be written to the results storage: {problem}.",
            hint="Let the key of RESULTS_STORAGE_URL read, write and delete objects, or give another key. "
            "Of a folder, look at its owner and whether the disk is full.",
            id="results.E002",
        )
    ]


def check_shared_secrets(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Say where machines that share a database would each make secrets of their own."""
    if not any(connections[alias].vendor == "postgresql" for alias in databases or ()):
        return []
    given = {"SECRET_KEY": os.environ.get("SECRET_KEY"), "ENCRYPTION_KEYS": settings.ENCRYPTION_KEYS}
    missing = " and ".join(name for name, value in given.items() if not value)
    if not missing:
        return []
    return [
        Caution(
            f"{missing} not set: this machine uses what lies in its own data folder, {settings.DATA_DIR}.",
            hint="One machine alone needs no more. Where several share the database, give all of them the "
            "same SECRET_KEY and ENCRYPTION_KEYS, such as those in the files secret_key and encryption_keys "
            "of the first one's data folder.",
            id="results.W001",
        )
    ]


def check_stored_keys(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Say where the keys of accounts were encrypted with another key than this machine's."""
    found: list[CheckMessage] = []
    for alias in databases or ():
        connection = connections[alias]
        if Account._meta.db_table not in connection.introspection.table_names():
            continue  # nothing is stored yet
        stored = Account.objects.using(alias).exclude(encrypted_key="").order_by("pk")
        tokens = list(stored.values_list("encrypted_key", flat=True))
        unreadable = sum(not _is_readable(token) for token in tokens)
        if unreadable:
            # One machine's own is lost, then; with several, this one would be the one that is wrong.
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
    start_anew = (
        "If they are lost, disconnect all accounts and have their admins enter the keys again: manage.py "
        "shell -c \"from collections_app.models import Account; Account.objects.update(encrypted_key='')\""
    )
    return (Error if is_fatal else Caution)(
        f"This machine's encryption keys can't read the keys of {count:,} of {of:,} connected accounts.",
        hint="Give it those of the machine that the accounts were connected at: the same ENCRYPTION_KEYS, or "
        "its file encryption_keys in the data folder. "
        + (start_anew if is_fatal else "If they are lost, admins enter the accounts' keys again."),
        id="results.E003" if is_fatal else "results.W002",
    )
