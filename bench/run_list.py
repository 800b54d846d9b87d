"""Compares the API's list of 100 completed runs with a view that dumps the same rows with orjson."""

import json
import sys
import urllib.request
from collections.abc import Iterator
from functools import partial

from bench.measure import Options, Row, at_most, run
from bench.pages import API_LIST, Site, compare, running_site

PATHS = {"ours": API_LIST, "peer": "/run-list"}
PAGES = (2, 40)
RUNS = """
from tests.support.results import make_many_pages
for pages in {pages}:
    make_many_pages(Collection.objects.create(pk=100 + pages, team=team, name="AU Laptops"), 100, pages)
"""


def measure(options: Options) -> Iterator[Row]:
    """Request both lists."""
    with running_site(options) as site:
        site.run_code(RUNS.format(pages=PAGES))
        for pages in PAGES:
            body = json.dumps({"collection_id": 100 + pages, "skip": 0, "limit": 100})
            if _response(site, PATHS["ours"], body) != _response(site, PATHS["peer"], body):
                sys.exit("Error: the two responses differ.")
            ours, peer = (partial(site.load, path, body=body) for path in PATHS.values())
            yield from compare(f"API list, 100 runs of {pages} pages", ours, peer, at_most(1.1), options)


def _response(site: Site, path: str, body: str) -> bytes:
    headers = site.server.headers | {"Content-Type": "application/json"}
    request = urllib.request.Request(site.url + path, body.encode(), headers)  # noqa: S310
    with urllib.request.urlopen(request) as response:  # noqa: S310
        content: bytes = response.read()
    return content


if __name__ == "__main__":
    run(measure, __doc__)
