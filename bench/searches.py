"""Measures how long a user waits for a search while another user sends 24 searches at once.

The site runs with its default settings (or WEB_CONCURRENCY and WEB_THREADS). The wait is compared with the
same search on the idle site. bench/records.py generates the records.
"""

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import requests

from bench.measure import MEBIBYTE, Options, Row, at_most, in_turn, ratio_row, run, seconds_of
from bench.preview import some_words
from bench.records import Shop, write_page
from bench.servers import bench_folder, make_member, make_site, run_code, run_site

SEARCHES = 24
# How long the searches of the first user run before the second user searches.
HEAD_START_SECONDS = 0.2
PAGE = "/collections/101/runs/88/"

PREPARE = """
from django.test import Client
shop = Collection.objects.create(pk=101, team=team, name="AU Laptops")
run = Run.objects.create(collection=shop, number=88, state="ready", file_count=1)
run.files.create(
    kind="page", position=1, name="NAME", key="NAME", size=SIZE, modified="2026-06-20T12:00:00Z"
)
user = User.objects.create_user("other@example.com")
Membership.objects.create(user=user, team=team, role=Role.MEMBER)
client = Client()
client.force_login(user)
print(client.cookies["sessionid"].value)
"""


class User:
    """A signed-in user who searches the records of a run."""

    def __init__(self, site: str, cookie: str) -> None:
        self._address, self._headers = site + PAGE, {"Cookie": cookie}

    def search(self, words: str) -> requests.Response:
        """Search, and return the response."""
        return requests.get(self._address, {"q": words}, headers=self._headers, timeout=120)

    def wait_for_table(self) -> None:
        """Search until the site has read the records."""
        while "<progress" in self.search("any").text:
            time.sleep(0.2)

    def search_successfully(self, words: str) -> None:
        """Search. Exit if the response isn't 200."""
        if (response := self.search(words)).status_code != requests.codes.ok:
            sys.exit(f"Error: the search is answered with {response.status_code}.")

    def search_repeatedly(self, words: str, until: threading.Event) -> None:
        """Search again and again, and wait as long as the site asks."""
        while not until.is_set():
            until.wait(float(self.search(words).headers.get("Retry-After", 0)))


def measure(options: Options) -> Iterator[Row]:
    """Compare the wait of one user during the other's searches with the idle site."""
    mebibytes = options.either(256, 8)
    words = some_words()
    with bench_folder() as folder, contextlib.ExitStack() as stack:
        data_dir = folder / "data"
        make_site(data_dir)
        headers = make_member(data_dir)
        (session,) = run_code(data_dir, make_run(data_dir / "results", mebibytes))
        site = stack.enter_context(run_site(data_dir, headers))
        one, other = User(site.url, headers["Cookie"]), User(site.url, f"sessionid={session}")
        one.wait_for_table()
        pairs = in_turn(
            partial(seconds_during, SEARCHES, one, other, words),
            partial(seconds_of, partial(other.search_successfully, words)),
            options.pairs,
        )
        what = f"search in {mebibytes} MiB during {SEARCHES} searches by another user, compared with idle, s"
        yield ratio_row(what, pairs, at_most(4), form="{:.3f}")


def make_run(results: Path, mebibytes: int) -> str:
    """Write a page of records. Return the code that creates its run and a second member."""
    page = results / "page.json"
    write_page(page, Shop().records(), mebibytes * MEBIBYTE)
    return PREPARE.replace("NAME", page.name).replace("SIZE", str(page.stat().st_size))


def seconds_during(count: int, one: User, other: User, words: str) -> float:
    """Return how long a user's search takes while another user has `count` searches running."""
    stop = threading.Event()
    threads = [threading.Thread(target=one.search_repeatedly, args=(words, stop)) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        time.sleep(HEAD_START_SECONDS)
        return seconds_of(partial(other.search_successfully, words))
    finally:
        stop.set()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    run(measure, __doc__)
