"""The site's own settings, for a real server in the tests; the static files lie beside its data."""

from dashboard.settings import *  # noqa: F403
from dashboard.settings import DATA_DIR

STATIC_ROOT = DATA_DIR / "static"
