"""The site's own gunicorn settings, with two changes for tests of delivery.

Readers that stall are ended after one second, and what the kernel sends by itself is counted.
"""

import os
from typing import Any

from dashboard import gunicorn_conf
from dashboard.gunicorn_conf import *  # noqa: F403

gunicorn_conf.STALL_SECONDS = 1

_sendfile = os.sendfile


def _counted(*args: Any) -> int:
    sent = _sendfile(*args)
    with open(os.environ["SENDFILE_LOG"], "a") as log:  # noqa: PTH123
        log.write(f"{sent}\n")
    return sent


os.sendfile = _counted
