"""The site's own settings, with the addresses that it is compared with."""

from tests.support.server_settings import *  # noqa: F403

ROOT_URLCONF = "bench.urls"
