"""Two people at the same moment."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

from django.db import connections, transaction

from collections_app.models import Team

# Long enough for a request to get to where it has to wait for the other's transaction.
A_MOMENT = 0.3


def ask_meanwhile(change: Callable[[], object], ask: Callable[[], Any]) -> Any:
    """Return the answer to a request that came in while a change was under way. Needs real transactions.

    The change begins as all that is done to a team does (access.confirm): nobody else does anything to it
    until the end. On SQLite that is so for every change.
    """

    def asked() -> Any:
        try:
            return ask()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            list(Team.objects.select_for_update().order_by("pk"))
            change()
            answer = pool.submit(asked)
            wait([answer], timeout=A_MOMENT)
        return answer.result()
