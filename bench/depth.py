"""Measures pages far down and wide teams, beside the same pages where there is little.

The page of runs 900,000 runs below the newest of a million, beside the first page; the pages of a team with
10,000 collections, beside those of a team with as many as the list shows.
"""

from datetime import datetime, timedelta
from functools import partial

from bench.pages import in_turn, parse_pairs, print_head, print_rows, running_site

RUNS, DEPTH = 1_000_000, 900_000
MANY, FEW = 10_000, 51  # of both, the list shows 50

# Failed runs: of these a page costs the database the most in relation to all else. One is made, and copied by
# the database itself, a minute from one to the next.
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
from collections_app.models.collections import search_form
from django.utils import timezone
account = Account.objects.create(team=team, name="Account")
names = [f"Laptops {number:05}" for number in range(COUNT)]
made = Collection.objects.bulk_create(
    Collection(team=team, name=name, search_name=search_form(name), account=account, remote_id=number)
    for number, name in enumerate(names, 1)
)
Run.objects.bulk_create(
    Run(collection=collection, number=number, state="failed", failure_reason="No answer.")
    for collection in made for number in range(1, 4)
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


def main() -> None:
    """Measure and print one table."""
    pairs = parse_pairs(__doc__)
    print_head("the same with little", pairs)
    with running_site("bench-deep-") as deep:
        deep.make(MAKE_RUNS.replace("COUNT", str(RUNS)))
        newest = "/collections/101/download"
        place = datetime(2026, 1, 1) + timedelta(minutes=RUNS - DEPTH)  # noqa: DTZ001
        far_down = f"{newest}?before={place.isoformat()}.000000Z_{RUNS - DEPTH}"
        loads = in_turn(partial(deep.load, far_down), partial(deep.load, newest), pairs)
        print_rows(f"page of runs at depth {DEPTH:,} of {RUNS:,}", loads, "<= 2")
    with running_site("bench-wide-") as wide, running_site("bench-narrow-") as narrow:
        wide.make(MAKE_COLLECTIONS.replace("COUNT", str(MANY)))
        narrow.make(MAKE_COLLECTIONS.replace("COUNT", str(FEW)))
        for what, path in PATHS.items():
            loads = in_turn(partial(wide.load, path), partial(narrow.load, path), pairs)
            print_rows(f"{what}, a team of {MANY:,} collections", loads, "<= 2")


if __name__ == "__main__":
    main()
