"""Read part of an account's list, compared with a model of the account. See also test_source_sync.py."""

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collections_app.models import Collection
from collections_app.sources import run_list
from collections_app.sources.run_list import RunListPart
from tests.support.upstream import NOON, ListedRuns, remote_run

COLLECTION = Collection(pk=101)
ORDERS = ["descending", "ascending", "mixed", "another each time"]


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_list, "OVERLAP", 3)


def listing(sizes: list[int], order: str, most: int, chance: random.Random) -> ListedRuns:
    """Return an account's list with `sizes` runs for each time, the oldest time first."""
    moments = [NOON.replace(hour=hour) for hour, size in enumerate(sizes) for _ in range(size)]
    listed = ListedRuns(remote_run(number, at=at) for number, at in enumerate(moments, 1))
    listed.most = most
    orders = {"descending": lambda run: -run.number, "ascending": lambda run: run.number}
    orders["mixed"] = lambda run: run.number * 7919 % 1009
    listed.order = orders.get(order, lambda run: chance.random())
    return listed


def read(listed: ListedRuns) -> RunListPart:
    """Read the entire list."""
    found = RunListPart(lambda skip: listed(COLLECTION, skip=skip, limit=10, seconds=1))
    while not found.is_end:
        found.read_page()
        assert len(listed.calls) < 300
    return found


groups = st.lists(st.sampled_from([1, 2, 3, 4, 7, 9, 10, 11, 25]), min_size=1, max_size=6)


@given(sizes=groups, order=st.sampled_from(ORDERS), most=st.sampled_from([5, 8, 10]), chance=st.randoms())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_all_runs_are_read_or_their_time_is_reported_as_incomplete(
    sizes: list[int], order: str, most: int, chance: random.Random
) -> None:
    listed = listing(sizes, order, most, chance)
    found = read(listed)
    lacking = {run.created_at for run in listed.runs if run.number not in found.runs}
    assert lacking <= found.doubtful
    assert all(
        found.has_all_of(run.created_at) for run in listed.runs if run.created_at not in found.doubtful
    )
    if order != "another each time":
        assert not found.doubtful


@given(
    sizes=groups,
    order=st.sampled_from(ORDERS),
    most=st.sampled_from([5, 8, 10]),
    comings=st.dictionaries(st.integers(1, 12), st.integers(1, 3), max_size=2),
    chance=st.randoms(),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_same_holds_while_new_runs_arrive(
    sizes: list[int], order: str, most: int, comings: dict[int, int], chance: random.Random
) -> None:
    listed = listing(sizes, order, most, chance)
    there = list(listed.runs)

    def come() -> None:
        at = NOON.replace(hour=len(sizes) - chance.randint(0, 1))
        first = len(listed.runs) + 1
        listed.runs += [remote_run(first + each, at=at) for each in range(comings.get(len(listed.calls), 0))]

    listed.before_each = come
    found = read(listed)
    assert {run.created_at for run in there if run.number not in found.runs} <= found.doubtful


def test_reading_ends_if_a_server_always_sends_the_same_page() -> None:
    listed = listing([1] * 8, "descending", 5, random.Random(0))
    found = RunListPart(lambda skip: listed(COLLECTION, skip=0, limit=10, seconds=1))
    while not found.is_end:
        found.read_page()
    assert len(listed.calls) == 1 + 3
