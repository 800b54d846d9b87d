"""The configuration of the app."""

from typing import Any

from django.apps import AppConfig
from django.core import checks
from django.db import connections
from django.db.backends.signals import connection_created
from django.db.models.signals import post_migrate

from collections_app.system import database, disk, form_messages


class CollectionsConfig(AppConfig):
    """Collections, their runs and the files of each run."""

    name = "collections_app"
    verbose_name = "Collections"

    def ready(self) -> None:
        """Register the system checks and the signal receivers, and replace Django's messages."""
        from collections_app.checks import (  # noqa: PLC0415  # needs the models
            check_results_storage,
            check_shared_secrets,
            check_stored_keys,
            check_time_zones,
        )

        form_messages.replace_messages()
        checks.register(database.check_leftover_sqlite)
        checks.register(database.check_encoding, checks.Tags.database)
        checks.register(database.check_version, checks.Tags.database)
        for check in (check_results_storage, check_shared_secrets, check_stored_keys, check_time_zones):
            checks.register(check, checks.Tags.database)
        post_migrate.connect(_enable_wal, sender=self)
        connection_created.connect(disk.install_error_wrapper)


def _enable_wal(using: str, **_: Any) -> None:
    # Let readers and the writer of SQLite work at the same time. The file stores this mode. Setting it again
    # for each connection would be a write, which fails on a full disk.
    if connections[using].vendor != "sqlite":
        return
    with connections[using].cursor() as cursor:
        cursor.execute("PRAGMA journal_mode = WAL")
