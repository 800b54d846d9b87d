"""Measures pages far down and wide teams, beside the same pages where there is little.

The page of runs 900,000 runs below the newest of a million, beside the first page; the pages of a team with
10,000 collections, beside those of a team with ten.
"""

from datetime import datetime, timedelta
from functools import partial

from bench.pages import in_turn, parse_pairs, print_head, print_rows, running_site

RUNS, DEPTH = 1_000_000, 900_000
MANY, FEW = 10_000, 10

AT_ONCE = 100_000

# Failed runs: of these a page costs the database the most in relation to all else.
MAKE_RUNS = f"""
from datetime import UTC, datetime, timedelta
deep, _ = Collection.objects.get_or_create(pk=101, team=team, name="Deep")
Run.objects.bulk_create(
    (
        Run(
            collection=deep,
            number=number,
            state="failed",
            failure_reason="No answer.",
            created_at=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=number),
        )
        for number in range(FIRST, FIRST + {AT_ONCE})
    ),
    batch_size=10_000,
)
"""
MAKE_COLLECTIONS = """
from collections_app.models.collections import search_form
from django.utils import timezone
account = Account.objects.create(team=team, name="Account")
names = [f"Laptops {number}" for number in range(COUNT)]
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
    "Collections, a search": "/collections/?q=ptops+5",
    "Collections, a search that finds nothing": "/collections/?q=nothing",
    "Members": "/members/",
    "Accounts": "/team/accounts/",
    "Profile": "/profile/",
}


def main() -> None:
    """Measure and print one table."""
    pairs = parse_pairs(__doc__)
    print_head("the same with little", pairs)
    with running_site("bench-deep-") as deep:
        for first in range(1, RUNS, AT_ONCE):
            deep.make(MAKE_RUNS.replace("FIRST", str(first)))
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
