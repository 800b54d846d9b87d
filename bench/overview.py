"""Compares the Overview of 1,000 collections with the Overview of ten. Each collection has 400 runs."""

from collections.abc import Iterator
from functools import partial

from bench.measure import Options, Row, at_most, run
from bench.pages import compare, running_site

MANY, FEW = 1_000, 10
RUNS = 400
TARGET = at_most(2)

# One run of 40 failed. The last one ended an hour ago.
MAKE = """
from datetime import timedelta
from django.utils import timezone
now = timezone.now()
created = Collection.objects.bulk_create(
    Collection(
        team=team,
        name=f"Laptops {number:05}",
        search_name=f"laptops {number:05}",
        expected_at=now + timedelta(hours=5),
        late_at=now + timedelta(hours=6),
    )
    for number in range(COUNT)
)
for collection in created:
    Run.objects.bulk_create(
        Run(
            collection=collection,
            number=number,
            created_at=now - timedelta(days=RUNS - number, hours=1),
            updated_at=now - timedelta(days=RUNS - number, minutes=50),
            **(
                {"state": "failed", "failure_reason": "No answer."}
                if (number + collection.pk) % 40 == 0
                else {"state": "ready", "file_count": 2, "extracted": 100, "total": 100}
            ),
        )
        for number in range(1, RUNS + 1)
    )
"""


def measure(options: Options) -> Iterator[Row]:
    """Load both pages."""
    runs = options.either(RUNS, RUNS // 10)
    with running_site(options) as wide, running_site(options) as narrow:
        for site, count in ((wide, MANY), (narrow, FEW)):
            site.run_code(MAKE.replace("COUNT", str(count)).replace("RUNS", str(runs)))
        what = f"Overview of {MANY:,} collections of {runs} runs, and of {FEW} collections"
        yield from compare(what, partial(wide.load, "/"), partial(narrow.load, "/"), TARGET, options)


if __name__ == "__main__":
    run(measure, __doc__)
