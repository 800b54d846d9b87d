"""Compares the download page of 50 runs with 20 pages each with a bare view of the same site.

The bare view loads a session and a user and sends one line: the minimum for a signed-in user.
"""

from collections.abc import Iterator
from functools import partial

from bench.measure import Options, Row, at_least, run
from bench.pages import compare, running_site

RUNS = """
from tests.support.results import make_many_pages
make_many_pages(Collection.objects.create(pk=101, team=team, name="AU Laptops"), 50, 20)
"""


def measure(options: Options) -> Iterator[Row]:
    """Load both pages."""
    with running_site(options) as site:
        site.run_code(RUNS)
        page, bare = partial(site.load, "/collections/101/download"), partial(site.load, "/bare")
        yield from compare("download page, 50 runs x 20 pages", page, bare, at_least(0.25), options)


if __name__ == "__main__":
    run(measure, __doc__)
