"""Send a request while another change is in progress."""

import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

from django.db import connection, connections, transaction

from collections_app.models import Team
from tests.support import tools

# Statements that wait for another transaction.
_LOCKS = re.compile(r"BEGIN|INSERT|UPDATE|DELETE|.* FOR UPDATE", re.DOTALL)
# Long enough for such a statement to reach the database.
A_MOMENT = 0.3


def ask_meanwhile(change: Callable[[], object], ask: Callable[[], Any]) -> Any:
    """Return the response to a request that arrives during a change. Needs real transactions.

    Like every change of a team (access.confirm), the change first locks the team, so that other changes wait
    for it. On SQLite, all changes wait for each other.
    """

    waits = threading.Event()

    def execute(proceed: Callable[..., Any], sql: str, *arguments: Any) -> Any:
        if _LOCKS.match(sql):
            waits.set()
        return proceed(sql, *arguments)

    def asked() -> Any:
        try:
            with connection.execute_wrapper(execute):
                return ask()
        finally:
            waits.set()
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            list(Team.objects.select_for_update().order_by("pk"))
            change()
            answer = pool.submit(asked)
            assert waits.wait(tools.PATIENCE)
            wait([answer], timeout=A_MOMENT)
        return answer.result()
