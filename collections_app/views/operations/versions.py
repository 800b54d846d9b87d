"""The versions of the site and its components, and its background workers."""

import platform
import sqlite3
from importlib import metadata

import django
from django.conf import settings
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.utils import timezone

from collections_app.models import WorkerSeen


def versions() -> list[tuple[str, str]]:
    """Return names and versions."""
    return [
        ("Site", settings.VERSION),
        ("Python", platform.python_version()),
        ("Django", django.get_version()),
        _database(),
        ("DuckDB", metadata.version("duckdb")),
        ("Migrations", _migrations()),
    ]


def _database() -> tuple[str, str]:
    if connection.vendor != "postgresql":
        return "SQLite", sqlite3.sqlite_version
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version")
        (version,) = cursor.fetchone()
    return "PostgreSQL", str(version).partition(" ")[0]


def _migrations() -> str:
    loader = MigrationLoader(connection)
    applied = len(loader.applied_migrations.keys() & loader.disk_migrations.keys())
    pending = len(loader.disk_migrations) - applied
    return f"{applied} applied, {pending or 'none'} pending"


def workers() -> list[tuple[WorkerSeen, bool]]:
    """Return the background workers, most recently seen first, and whether each is alive."""
    now = timezone.now()
    return [(worker, worker.is_alive(now)) for worker in WorkerSeen.objects.order_by("-seen_at")]
