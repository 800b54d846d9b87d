"""Django's SQLite backend, with connections that the threads of a process can share.

A new connection reads the entire schema and needs 175 KiB. A web process has hundreds of threads, and glibc
keeps the memory that each has freed. With a connection per request, that was more than half of the cost of
a slow download.

This replaces a private part of Django, `_close` (5.2.19 was read). A test checks that Django still uses it.

Cursors also remember queries, because Django searches each query for placeholders each time.
"""

import queue
import sqlite3
from functools import lru_cache
from typing import Any

from django.db.backends.sqlite3 import base


@lru_cache(maxsize=500)
def _converted(query: str) -> str:
    return str(base.FORMAT_QMARK_REGEX.sub("?", query).replace("%%", "%"))


class Cursor(base.SQLiteCursorWrapper):
    """Django's cursor, except that it replaces the `%s` of each query only once."""

    def convert_query(self, query: str, *, param_names: list[str] | None = None) -> str:
        """Return the query with SQLite's placeholders."""
        if param_names is None:
            return _converted(query)
        converted: str = super().convert_query(query, param_names=param_names)
        return converted


_Slots = queue.LifoQueue[sqlite3.Connection | None]


class DatabaseWrapper(base.DatabaseWrapper):
    """A thread's connection, which uses one of the shared connections while it is open."""

    # Unused connections, and None for each that isn't open yet. Without it, each thread opens its own.
    slots: _Slots | None = None
    wait_seconds = 0.0
    _has_slot = False

    @classmethod
    def share(cls, connections: int, wait_seconds: float) -> None:
        """Let the threads of this process share this many connections, beginning with the next one.

        After `wait_seconds`, a thread opens another one: all shared ones may be waiting for SQLite's only
        writer, but readers needn't wait. No connection may be open when the process forks.
        """
        cls.slots, cls.wait_seconds = queue.LifoQueue(), wait_seconds
        for _ in range(connections):
            cls.slots.put(None)

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Return an unused connection, or a new one. Raises DatabaseError."""
        if self.slots is None:
            return super().get_new_connection(conn_params)
        try:
            opened = self.slots.get(timeout=self.wait_seconds)
        except queue.Empty:
            return super().get_new_connection(conn_params)
        try:
            opened = opened or super().get_new_connection(conn_params)
        except BaseException:
            self.slots.put(None)
            raise
        self._has_slot = True
        return opened

    def create_cursor(self, name: str | None = None) -> Cursor:
        """Return a cursor. SQLite has no named ones."""
        cursor: Cursor = self.connection.cursor(factory=Cursor)
        return cursor

    def _close(self) -> None:
        used, has_slot, self._has_slot = self.connection, self._has_slot, False
        if self.slots is None or used is None or not has_slot:
            super()._close()  # type: ignore[misc]
        elif self.errors_occurred or used.in_transaction:
            # Its state is unknown.
            try:
                super()._close()  # type: ignore[misc]
            finally:
                self.slots.put(None)
        else:
            self.slots.put(used)
