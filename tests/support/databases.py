"""The databases of tests: SQLite files or, with TEST_DATABASE=postgresql, those of a PostgreSQL server.

The first test process starts the server and stops it at its end; the others inherit the server's address.
Each data folder of a real process has its own database, which is created on first use. Migrating an empty
database takes seconds, so one is migrated for all test processes, and copied.
"""

import atexit
import hashlib
import os
import pwd
import shutil
import sqlite3
import tempfile
from contextlib import closing, suppress
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from tests.support import tools

# The environment variable with the server's URL, for the processes that the first one starts.
_SERVER = "TEST_POSTGRESQL_SERVER"
_PROGRAMS = "/usr/lib/postgresql/*/bin"

# Sort text by the rules of a language, as most databases do.
_LETTERS = ["--encoding=UTF8", "--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en"]
# Nothing needs to survive the tests.
_QUICK = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "listen_addresses": "",
}


def kind() -> str:
    """Return which database these tests run on: "sqlite" or "postgresql"."""
    return os.environ.get("TEST_DATABASE") or "sqlite"


def is_postgresql() -> bool:
    """Whether these tests run on PostgreSQL."""
    return kind() == "postgresql"


def start_server() -> str:
    """Return the URL of a database on the PostgreSQL server of the tests. Start the server if necessary."""
    if _SERVER not in os.environ:
        os.environ[_SERVER] = _start()
    return os.environ[_SERVER]


def address_of(data_dir: Path) -> str:
    """Return the DATABASE_URL for processes with this data folder. It is empty on SQLite."""
    tools.conditions_used.add("backends")
    if not is_postgresql():
        return ""
    _make(_name_of(data_dir), "template0")
    return _address(_name_of(data_dir))


def copy(source: Path, target: Path) -> Path:
    """Copy a data folder that no process uses, with its database. Return the copy."""
    tools.conditions_used.add("backends")
    shutil.copytree(source, target)
    if is_postgresql():
        _make(_name_of(target), _name_of(source))
    return target


def copy_to_test_database(data_dir: Path, name: str) -> None:
    """Copy the database of a data folder that no process uses to the test database with this name."""
    if is_postgresql():
        _make(name, _name_of(data_dir))
    else:
        with closing(_opened(data_dir)) as source, closing(sqlite3.connect(name)) as target:
            source.backup(target)


def rename(source: Path, target: Path) -> None:
    """Rename a data folder that no process uses, and its database."""
    if is_postgresql():
        _do("ALTER DATABASE {} RENAME TO {}", _name_of(source), _name_of(target))
    source.rename(target)


def execute(data_dir: Path, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """Execute a statement in the database of a data folder, and return its rows. "?" stands for a value."""
    if is_postgresql():
        with psycopg.connect(address_of(data_dir), autocommit=True) as database:
            # Without values, psycopg doesn't treat "%" as a placeholder.
            found = database.execute(statement.replace("?", "%s").encode(), values or None)
            return found.fetchall() if found.description else []
    with closing(_opened(data_dir)) as file, file:
        return file.execute(statement, values).fetchall()


def _opened(data_dir: Path) -> sqlite3.Connection:
    return sqlite3.connect(data_dir / "db.sqlite3", timeout=30)


def _name_of(data_dir: Path) -> str:
    return f"of_{hashlib.sha256(str(data_dir).encode()).hexdigest()[:16]}"


def _address(name: str) -> str:
    return urlsplit(start_server())._replace(path=f"/{name}").geturl()


@cache
def _make(name: str, template: str) -> None:
    with suppress(psycopg.errors.DuplicateDatabase):  # another process of the tests was first
        _do("CREATE DATABASE {} TEMPLATE {}", name, template)


def _do(statement: str, *names: str) -> None:
    with psycopg.connect(start_server(), autocommit=True) as server:
        server.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def programs_of_the_server() -> Path | None:
    """Return the folder of the programs of the newest installed PostgreSQL."""
    installed = Path("/").glob(_PROGRAMS.lstrip("/"))
    return max(installed, key=lambda path: int(path.parent.name), default=None)


def _start() -> str:
    programs = programs_of_the_server()
    if programs is None:
        raise RuntimeError(f"The tests on PostgreSQL need its server, in {_PROGRAMS} (Debian: postgresql).")
    folder = Path(tempfile.mkdtemp(prefix="results-tests-postgresql-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    # The server refuses to be run by root.
    as_user = []
    if os.geteuid() == 0:
        owner = pwd.getpwnam("postgres")
        os.chown(folder, owner.pw_uid, owner.pw_gid)
        as_user = ["runuser", "-u", "postgres", "--"]
    data = f"--pgdata={folder / 'data'}"

    def run(program: str, *arguments: str) -> None:
        # Don't capture output: the server that it starts keeps the pipes open.
        tools.run(*as_user, programs / program, data, *arguments, cwd=folder, stdout=tools.DEVNULL)

    run("initdb", "--username=postgres", "--auth=trust", "--no-sync", *_LETTERS)
    settings = " ".join(f"-c {name}={value}" for name, value in _QUICK.items())
    run("pg_ctl", "start", "--wait", f"--log={folder / 'log'}", f"--options={settings} -k {folder}")
    atexit.register(run, "pg_ctl", "stop", "--mode=immediate")
    return f"postgresql://postgres@/postgres?host={folder}"
