"""Measure what responses about hostile records cost. This is a separate program: see test_hostile_records.py.

It is killed if a response needs far too much memory.
"""

import json
import resource
import time
from collections.abc import Callable, Iterable
from itertools import chain, count, repeat, takewhile

from django.contrib.auth import get_user_model
from django.core.files.storage import storages
from django.test import Client

from collections_app.models import Collection, Run
from collections_app.system import background
from tests.conftest import signed_in
from tests.support.results import make_run_of_pages

SIZE = 1_000_000
MEMORY = 4 * 1024**3


def _page(records: Iterable[bytes]) -> bytes:
    """Return a page with as many of these records as fit."""
    size = 0

    def fits(record: bytes) -> bool:
        nonlocal size
        size += len(record) + 1
        return size < SIZE

    return b"[%b]" % b",".join(takewhile(fits, records))  # type: ignore[arg-type]


def _wide(columns: int) -> bytes:
    return b"{%b}" % b",".join(b'"%d":1' % number for number in range(columns))


CASES: dict[str, Callable[[], bytes]] = {
    "a different key in each record": lambda: _page(b'{"key%d":1}' % number for number in count()),
    "a long key around many keys": lambda: b'[{"%b":%b}]' % (b"x" * 500_000, _wide(40_000)),
    "one record with many keys and many records with one": lambda: _page(
        chain([_wide(1_500)], repeat(b'{"0":1}'))
    ),
    "deeply nested lists": lambda: b'[{"a":%b%b%b}]' % (b"[" * 300, _page(repeat(b"1")), b"]" * 300),
    "no complete record": lambda: b'[{"a":' * (SIZE // 6),
}
WHERE: tuple[str, ...] = ("", "?q=1", "facts", "records/1", "export")
WHERE += ("records.csv", "records.xlsx", "records.jsonl?columns=0")


def main(*names: str) -> None:
    """Print a line of JSON for each of these cases: peak memory so far, and the cost of each response."""
    background.in_background = lambda work, **_: work()
    collection = Collection.objects.get(pk=101)
    browser = signed_in(
        get_user_model().objects.get(memberships__role="owner", memberships__team=collection.team)
    )
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for name in names:
        run = _stored(collection, CASES[name]())
        responses = [_response(browser, run, where) for where in WHERE]
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps([name, memory, responses]), flush=True)


def _stored(collection: Collection, content: bytes) -> Run:
    """Store a page unchecked, as it comes from an account."""
    run = make_run_of_pages(collection, {"page.json": b"[]"})
    file = run.files.get(kind="page")
    with storages["results"].open(f"{file.key}-hostile", "wb") as stored:
        stored.write(content)
    run.files.filter(pk=file.pk).update(key=f"{file.key}-hostile", size=len(content))
    return run


def _response(browser: Client, run: Run, where: str) -> tuple[str, int, int, float]:
    """Return the path, the status, the number of bytes sent and the CPU time in seconds."""
    began = time.process_time()
    response = browser.get(f"/collections/101/runs/{run.number}/{where}", headers={"Host": "localhost"})
    size = sum(map(len, response))
    return where, response.status_code, size, time.process_time() - began
