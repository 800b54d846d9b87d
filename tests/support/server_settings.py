"""The site's settings for a server in the tests, with the static files in its data folder."""

from dashboard.settings import *  # noqa: F403
from dashboard.settings import DATA_DIR

STATIC_ROOT = DATA_DIR / "static"

# A slow hash takes longer than the page that checks the password.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
