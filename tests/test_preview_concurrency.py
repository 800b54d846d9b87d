"""Queries of one user can use only part of a process."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from collections_app.records.preview.concurrency import (
    MOST_PER_USER,
    FairSemaphore,
    TooManyQueries,
    queries_of,
)
from tests.support import tools

ALICE, BOB, CAROL = 1, 2, 3

pytestmark = pytest.mark.django_db


@pytest.fixture
def held() -> Iterator[ExitStack]:
    """A stack whose contexts end with the test."""
    with ExitStack() as stack:
        yield stack


def acquires(semaphore: FairSemaphore, user: int, until: ExitStack, *, seconds: float = 0) -> bool:
    with queries_of(user):
        return until.enter_context(semaphore.acquired(seconds=seconds))


def test_a_user_can_hold_it_only_once(held: ExitStack) -> None:
    semaphore = FairSemaphore(2)
    assert [acquires(semaphore, user, held) for user in (ALICE, ALICE, ALICE, BOB)] == [
        True,
        False,
        False,
        True,
    ]


def test_the_number_of_holders_is_limited(held: ExitStack) -> None:
    semaphore = FairSemaphore(2)
    assert [acquires(semaphore, user, held) for user in (ALICE, BOB, CAROL)] == [True, True, False]


def test_a_waiting_user_acquires_it_when_it_is_released() -> None:
    semaphore, first, came = FairSemaphore(2), ExitStack(), threading.Event()

    def wait() -> None:
        with ExitStack() as stack:
            if acquires(semaphore, ALICE, stack, seconds=20):
                came.set()

    with first:
        assert acquires(semaphore, ALICE, first)
        waiting = threading.Thread(target=wait)
        waiting.start()
        assert not came.is_set()
    waiting.join(tools.PATIENCE)
    assert came.is_set()


def test_a_user_with_too_many_queries_is_refused_but_others_are_not(held: ExitStack) -> None:
    semaphore = FairSemaphore(2)
    with ExitStack() as of_alice:
        for _ in range(MOST_PER_USER):
            acquires(semaphore, ALICE, of_alice)
        with pytest.raises(TooManyQueries, match="You have 8 searches running, the maximum per person"):
            acquires(semaphore, ALICE, of_alice)
        assert acquires(semaphore, BOB, held)
    assert acquires(semaphore, ALICE, held)


def test_background_work_can_hold_it_several_times(held: ExitStack) -> None:
    semaphore = FairSemaphore(2)
    assert [held.enter_context(semaphore.acquired(seconds=0)) for _ in range(3)] == [True, True, False]
