"""Speed up the tests: assign them to processes, order them, and skip unneeded work."""

import gc
import os
from collections import Counter
from contextlib import suppress
from importlib import import_module
from typing import Any

import pytest
from django.contrib.contenttypes.management import create_contenttypes
from django.db.models.signals import post_migrate
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from tests.support import tools

# The files whose tests start programs, slowest first.
_LONG = ["scaled_out", "browser", "nginx", "pull", "delivery_over_http", "serve", "view_run", "canary"]
_LONG += ["writer_killed", "access_of_every_address", "demo", "operating", "two_instances", "bench"]


@pytest.hookimpl(trylast=True)  # coverage must start first, to see the lines that an import runs
def pytest_sessionstart(session: pytest.Session) -> None:
    """Import a share of the test modules before the collection imports the others.

    Each test process imports all modules. pytest rewrites their assertions and stores the result, which takes
    as long as the rest of the collection. With different shares, each process finds most modules rewritten.
    """
    worker: dict[str, Any] = getattr(session.config, "workerinput", {})
    if worker:
        number, count = int(worker["workerid"].removeprefix("gw")), worker["workercount"]
        for name in _modules(session.config)[number::count]:
            with suppress(Exception):  # the collection reports it
                import_module(name)


def _modules(config: pytest.Config) -> list[str]:
    """Return the names of the modules that the command line selects."""
    selected = [config.rootpath / argument.partition("::")[0] for argument in config.args]
    files = {file for path in selected for file in ([path] if path.is_file() else path.rglob("test_*.py"))}
    return sorted(".".join(file.relative_to(config.rootpath).with_suffix("").parts) for file in files)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Make `-n auto` start more test processes than processors, because many tests wait for servers.

    `make test-all` starts more of them. Each process takes as long as some hundred tests to import the
    modules and to create its database.
    """
    return (2 if tools.is_thorough() else 1) + (os.cpu_count() or 1)


class _ByFile(LoadFileScheduling):  # type: ignore[misc]
    """Runs each file's tests in one process, because they share servers and other fixtures.

    All files in tests/browser share a browser and a server.
    """

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith("tests/browser/"):
            return "browser"
        return str(super()._split_scope(nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling:
    """Run each file's tests in one process, in the order that `pytest_collection_modifyitems` sets."""
    config.option.loadscopereorder = False
    return _ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the slowest files first, so that no process is left with one at the end."""
    tests_of = Counter(item.path for item in items)
    items.sort(key=lambda item: (_rank(item), -tests_of[item.path]))


def _rank(item: pytest.Item) -> int:
    name = "browser" if item.path.parent.name == "browser" else item.path.stem.removeprefix("test_")
    return _LONG.index(name) if name in _LONG else len(_LONG)


def pytest_collection_finish() -> None:
    """Skip work that no test needs."""
    # The objects of imported modules are never freed. Examining them would take a tenth of the total time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    # After each test with real transactions, "flush" would recreate permissions, which no one is granted (an
    # operator has all of them), and content types, which are created on first use.
    post_migrate.disconnect(create_contenttypes)
    post_migrate.disconnect(dispatch_uid="django.contrib.auth.management.create_permissions")
