"""Send a request while another change is in progress."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

from django.db import connections, transaction

from collections_app.models import Team

# Long enough for a request to reach the point where it waits for the other transaction.
A_MOMENT = 0.3


def ask_meanwhile(change: Callable[[], object], ask: Callable[[], Any]) -> Any:
    """Return the response to a request that arrives during a change. Needs real transactions.

    Like every change of a team (access.confirm), the change first locks the team, so that other changes wait
    for it. On SQLite, all changes wait for each other.
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
