"""Measures the download page of 50 runs with 20 pages each, beside a bare view of the same site.

The bare view loads a session and a user and answers with one line: the least that anybody signed in costs.
"""

from bench.pages import in_turn, parse_pairs, print_head, print_rows, running_site

RUNS = """
from tests.results import make_many_pages
make_many_pages(Collection.objects.create(pk=101, team=team, name="AU Laptops"), 50, 20)
"""


def main() -> None:
    """Measure and print one table."""
    pairs = parse_pairs(__doc__)
    with running_site("bench-download-page-") as site:
        site.make(RUNS)
        measured = in_turn(
            lambda: site.load("/collections/101/download"),
            lambda: site.load("/bare"),
            pairs,
        )
        print_head("a bare view", pairs)
        print_rows("download page, 50 runs x 20 pages", measured, ">= 0.25", as_rates=True)


if __name__ == "__main__":
    main()
