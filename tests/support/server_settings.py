"""The site's own settings, for a real server in the tests; the static files lie beside its data."""

from dashboard.settings import *  # noqa: F403
from dashboard.settings import DATA_DIR
from dashboard.settings import WHITENOISE_SKIP_COMPRESS_EXTENSIONS as SKIPPED

STATIC_ROOT = DATA_DIR / "static"
# To compress Swagger UI takes longer than to make the demo.
WHITENOISE_SKIP_COMPRESS_EXTENSIONS = (*SKIPPED, "js")

# What makes a password hard to guess takes longer than the page that asks for it.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
