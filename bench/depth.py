"""Compares deep pages and large teams with first pages and small teams.

Deep: the page of runs after the 900,000 newest of a million, also in the API's list. Large: a team with
10,000 collections. Small: a team with one page of collections.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial

from bench.measure import Options, Row, at_most, run
from bench.pages import API_LIST, compare, running_site

RUNS = 1_000_000
MANY, FEW = 10_000, 51  # of both, the list shows 50
TARGET = at_most(2)

# Failed runs, because their pages spend the most time in the database. The database copies one run
# and sets the times of the copies one minute apart.
MAKE_RUNS = """
from django.db import connection
deep = Collection.objects.create(pk=101, team=team, name="Deep")
Run.objects.create(
    collection=deep, number=0, state="failed", failure_reason="No answer.", created_at="2026-01-01T00:00:00Z"
)
copied = [field.column for field in Run._meta.concrete_fields if not field.primary_key]
changed = {"number": "n", "created_at": "datetime('2026-01-01', '+' || n || ' minutes')"}
with connection.cursor() as cursor:
    cursor.execute(
        "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < COUNT) "
        f"INSERT INTO collections_app_run ({', '.join(copied)}) "
        f"SELECT {', '.join(changed.get(column, column) for column in copied)} "
        "FROM collections_app_run, numbers"
    )
"""
MAKE_COLLECTIONS = """
from collections_app.models.collections import search_name
from django.utils import timezone
account = Account.objects.create(team=team, name="Account")
names = [f"Laptops {number:05}" for number in range(COUNT)]
created = Collection.objects.bulk_create(
    Collection(team=team, name=name, search_name=search_name(name), account=account, remote_id=number)
    for number, name in enumerate(names, 1)
)
Run.objects.bulk_create(
    Run(collection=collection, number=number, state="failed", failure_reason="No answer.")
    for collection in created for number in range(1, 4)
)
"""
PATHS = {
    "Collections": "/collections/",
    "Collections, a search that finds one": "/collections/?q=00007",
    "Collections, a search that finds none": "/collections/?q=nothing",
    "Members": "/members/",
    "Accounts": "/team/accounts/",
    "Profile": "/profile/",
}


def measure(options: Options) -> Iterator[Row]:
    """Load large and small pages."""
    runs, many = options.either(RUNS, RUNS // 10), options.either(MANY, MANY // 10)
    depth = runs // 10 * 9
    with running_site(options) as deep:
        deep.run_code(MAKE_RUNS.replace("COUNT", str(runs)))
        newest = "/collections/101/download"
        time = datetime(2026, 1, 1) + timedelta(minutes=runs - depth)  # noqa: DTZ001
        far_down = f"{newest}?before={time.isoformat()}.000000Z_{runs - depth}"
        what = f"page of runs at depth {depth:,} of {runs:,}"
        yield from compare(what, partial(deep.load, far_down), partial(deep.load, newest), TARGET, options)
        bodies = (f'{{"collection_id": 101, "before": {number}}}' for number in (runs - depth, runs))
        ours, peer = (partial(deep.load, API_LIST, body=body) for body in bodies)
        yield from compare(f"API list before run {runs - depth:,} of {runs:,}", ours, peer, TARGET, options)
    with running_site(options) as wide, running_site(options) as narrow:
        wide.run_code(MAKE_COLLECTIONS.replace("COUNT", str(many)))
        narrow.run_code(MAKE_COLLECTIONS.replace("COUNT", str(FEW)))
        for page, path in PATHS.items():
            what = f"{page}, a team of {many:,} collections"
            yield from compare(what, partial(wide.load, path), partial(narrow.load, path), TARGET, options)


if __name__ == "__main__":
    run(measure, __doc__)
