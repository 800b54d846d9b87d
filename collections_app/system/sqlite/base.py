"""Django's SQLite, whose connections the threads of a process may share.

To open a connection is to read the whole schema, and it holds 175 KiB. A web process has hundreds of threads,
and what each of them allocates and frees stays with it (glibc keeps heaps and caches for threads): opened by
each request for itself, that was more than half of what a slow download cost.
"""

import queue
import sqlite3
from typing import Any

from django.db.backends.sqlite3 import base

_Places = queue.LifoQueue[sqlite3.Connection | None]


class DatabaseWrapper(base.DatabaseWrapper):
    """A thread's access, which has a connection for as long as it is open."""

    # A place each, with a connection that nobody uses now, or with none yet. None: each thread opens its own.
    places: _Places | None = None
    wait_seconds = 0.0
    _has_place = False

    @classmethod
    def share(cls, connections: int, wait_seconds: float) -> None:
        """Let the threads of this process share so many connections, from the next one on.

        All who have one may be waiting for the one writer that SQLite lets in, for which readers needn't; so
        who has waited so long opens another. None may be open when the process forks.
        """
        cls.places, cls.wait_seconds = queue.LifoQueue(), wait_seconds
        for _ in range(connections):
            cls.places.put(None)

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Return one that nobody uses, or a new one. Raises DatabaseError."""
        if self.places is None:
            return super().get_new_connection(conn_params)
        try:
            opened = self.places.get(timeout=self.wait_seconds)
        except queue.Empty:
            return super().get_new_connection(conn_params)
        try:
            opened = opened or super().get_new_connection(conn_params)
        except BaseException:
            self.places.put(None)
            raise
        self._has_place = True
        return opened

    def _close(self) -> None:
        used, has_place, self._has_place = self.connection, self._has_place, False
        if self.places is None or used is None or not has_place:
            super()._close()  # type: ignore[misc]
        elif self.errors_occurred or used.in_transaction:
            # Nobody knows what state it is in.
            try:
                super()._close()  # type: ignore[misc]
            finally:
                self.places.put(None)
        else:
            self.places.put(used)
