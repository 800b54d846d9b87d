"""The site's settings with a data folder that goes away after the tests."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, cast

# Files are synced in tests as in earnest: on a disk that takes half the time of all tests, in memory none.
_IN_MEMORY = "/dev/shm"
if os.path.isdir(_IN_MEMORY) and shutil.disk_usage(_IN_MEMORY).free > 2 * 1024**3:  # noqa: PTH112
    os.environ["TMPDIR"] = tempfile.tempdir = _IN_MEMORY

_folder = tempfile.mkdtemp(prefix="results-tests-")
atexit.register(shutil.rmtree, _folder, ignore_errors=True)
for _knob in (
    "PUBLIC_URL",
    "EMAIL_URL",
    "SECRET_KEY",
    "DEBUG",
    "ENCRYPTION_KEYS",
    "UPSTREAM_ORIGINS",
    "OUTGOING_ALLOW",
    "METRICS_TOKEN",
    "DATABASE_URL",
    "RESULTS_STORAGE_URL",
    "DELIVERY",
    "HSTS",
):
    os.environ.pop(_knob, None)
os.environ["DATA_DIR"] = _folder
# Playwright keeps an event loop running in the tests' own thread, which Django takes for asynchronous code.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"

from collections_app.system import database  # noqa: E402
from dashboard.settings import *  # noqa: E402, F403
from dashboard.settings import DATABASES, LOGGING, STORAGES  # noqa: E402
from tests.support import databases  # noqa: E402

# Hashing a password well takes a tenth of a second each time.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES = STORAGES | {
    # The names of static files as they are: no collectstatic before a test.
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
}
STATIC_ROOT = Path(_folder, "static")
STATIC_ROOT.mkdir()
if databases.is_postgresql():
    DATABASES["default"] = database.postgresql(databases.start_server())
else:
    # Processes are killed here, but the power stays on: what was written is not lost without a sync.
    _options = cast("dict[str, Any]", DATABASES["default"]["OPTIONS"])
    _options["init_command"] = "PRAGMA synchronous = OFF"
# A line for each request of every test would bury what a test has to say.
LOGGING["loggers"]["collections_app.system.observability.requests"]["level"] = "CRITICAL"
