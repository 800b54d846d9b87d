"""The app's registration."""

from typing import Any

from django.apps import AppConfig
from django.core import checks
from django.db import connections
from django.db.backends.signals import connection_created
from django.db.models.signals import post_migrate

from collections_app.system import database, disk


class CollectionsConfig(AppConfig):
    """Collections, their runs and the files of each run."""

    name = "collections_app"
    verbose_name = "Collections"

    def ready(self) -> None:
        """Have database and storage checked, and the former prepared whenever it is brought up to date."""
        from collections_app.checks import (  # noqa: PLC0415  # they need the models
            check_results_storage,
            check_shared_secrets,
            check_stored_keys,
        )

        checks.register(database.check_leftover_sqlite)
        checks.register(database.check_encoding, checks.Tags.database)
        checks.register(database.check_version, checks.Tags.database)
        for check in (check_results_storage, check_shared_secrets, check_stored_keys):
            checks.register(check, checks.Tags.database)
        post_migrate.connect(_write_ahead, sender=self)
        connection_created.connect(disk.install_error_wrapper)


def _write_ahead(using: str, **_: Any) -> None:
    # SQLite's way to let readers and a writer not wait for each other. The file remembers it; a connection
    # that said it again would want to write, which a full disk refuses.
    if connections[using].vendor != "sqlite":
        return
    with connections[using].cursor() as cursor:
        cursor.execute("PRAGMA journal_mode = WAL")
