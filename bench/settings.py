"""The site's settings, with the views for comparison."""

from tests.support.server_settings import *  # noqa: F403

ROOT_URLCONF = "bench.urls"
