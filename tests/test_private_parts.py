"""Private parts of libraries that the code relies on. If a test fails, read the new version's code."""

import http.client
import inspect
from collections.abc import Callable
from typing import Any

import pytest
import urllib3
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.postgresql import base as postgresql
from requests.adapters import HTTPAdapter
from storages.backends.s3 import S3Storage


@pytest.mark.parametrize(
    ("function", "part"),
    [
        # sources/upstream/connection.py
        (http.client.HTTPResponse.__init__, 'self.fp = sock.makefile("rb")'),
        (http.client.HTTPConnection.getresponse, "self.response_class(self.sock, method=self._method)"),
        (urllib3.HTTPConnectionPool._new_conn, "self.ConnectionCls("),
        (urllib3.HTTPSConnectionPool._new_conn, "self.ConnectionCls("),
        (urllib3.PoolManager._new_pool, "self.pool_classes_by_scheme[scheme]"),
        (HTTPAdapter.init_poolmanager, "self.poolmanager = PoolManager("),
        # system/sqlite/base.py
        (BaseDatabaseWrapper.close, "self._close()"),
        (BaseDatabaseWrapper.connect, "self.connection = self.get_new_connection(conn_params)"),
        # system/disk.py
        (BaseDatabaseWrapper.cursor, "self._cursor()"),
        (BaseDatabaseWrapper._cursor, "with self.wrap_database_errors:"),  # type: ignore[attr-defined]
        # system/database.py
        (postgresql.DatabaseWrapper.pool.fget, 'self.settings_dict["OPTIONS"].get("pool")'),  # type: ignore[attr-defined]
        # files/storage/bucket.py
        (S3Storage._create_session, "boto3.Session("),
        (S3Storage._normalize_name, "safe_join(self.location, name)"),
    ],
)
def test_libraries_still_have_the_parts_that_the_code_uses(function: Callable[..., Any], part: str) -> None:
    assert part in inspect.getsource(function)
