"""One person's questions can use only part of a process."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from collections_app.records.preview.concurrency import MOST_OF_A_PERSON, TooManyQuestions, Turns, asked_by

ALICE, BOB, CAROL = 1, 2, 3

pytestmark = pytest.mark.django_db


@pytest.fixture
def under_way() -> Iterator[ExitStack]:
    """A stack whose contexts end with the test."""
    with ExitStack() as stack:
        yield stack


def ask(turns: Turns, person: int, until: ExitStack, *, seconds: float = 0) -> bool:
    with asked_by(person):
        return until.enter_context(turns.turn(seconds=seconds))


def test_a_person_has_one_turn_and_leaves_others_free(under_way: ExitStack) -> None:
    turns = Turns(2)
    assert [ask(turns, person, under_way) for person in (ALICE, ALICE, ALICE, BOB)] == [
        True,
        False,
        False,
        True,
    ]


def test_the_number_of_turns_is_limited(under_way: ExitStack) -> None:
    turns = Turns(2)
    assert [ask(turns, person, under_way) for person in (ALICE, BOB, CAROL)] == [True, True, False]


def test_a_waiting_person_gets_a_turn_when_it_is_free() -> None:
    turns, first, came = Turns(2), ExitStack(), threading.Event()

    def wait() -> None:
        with ExitStack() as stack:
            if ask(turns, ALICE, stack, seconds=20):
                came.set()

    with first:
        assert ask(turns, ALICE, first)
        waiting = threading.Thread(target=wait)
        waiting.start()
        assert not came.is_set()
    waiting.join(20)
    assert came.is_set()


def test_a_person_who_asks_too_many_questions_is_refused_but_others_are_not(under_way: ExitStack) -> None:
    turns = Turns(2)
    with ExitStack() as of_alice:
        for _ in range(MOST_OF_A_PERSON):
            ask(turns, ALICE, of_alice)
        with pytest.raises(TooManyQuestions, match="You have 8 searches running, the maximum per person"):
            ask(turns, ALICE, of_alice)
        assert ask(turns, BOB, under_way)
    assert ask(turns, ALICE, under_way)


def test_background_work_can_use_all_turns(under_way: ExitStack) -> None:
    turns = Turns(2)
    assert [under_way.enter_context(turns.turn(seconds=0)) for _ in range(3)] == [True, True, False]
