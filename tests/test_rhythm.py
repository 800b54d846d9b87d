"""When the next run is expected: learned from earlier runs, and right when the clocks change."""

import random
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collections_app.models.rhythm import Interval, Rhythm, TimeOfDay, learn
from tests.support.tools import all_or_some

SYDNEY = ZoneInfo("Australia/Sydney")
BERLIN = ZoneInfo("Europe/Berlin")
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
EVERY_DAY = frozenset(range(7))
WEEKDAYS = frozenset(range(5))


def daily(
    count: int, first: date, at: time, zone: ZoneInfo, *, weekdays: frozenset[int] = EVERY_DAY
) -> list[datetime]:
    """Return the starts of runs on these weekdays, each up to 6 minutes late."""
    chance = random.Random(first.toordinal())
    days = (first + timedelta(days=n) for n in range(count * 7))
    starts = [
        datetime.combine(day, at, zone).astimezone(UTC) + chance.randrange(360) * timedelta(seconds=1)
        for day in days
        if day.weekday() in weekdays
    ]
    return starts[:count]


def expected(rhythm: Rhythm | None, last: datetime) -> datetime:
    assert rhythm is not None
    return rhythm.next_after(last).at


def late(rhythm: Rhythm | None, last: datetime) -> datetime:
    assert rhythm is not None
    return rhythm.next_after(last).late_at


class TestLearning:
    def test_a_nightly_collection(self) -> None:
        starts = daily(20, date(2026, 6, 1), time(2), SYDNEY)
        rhythm = learn(starts, SYDNEY)
        assert isinstance(rhythm, TimeOfDay)
        assert rhythm.weekdays == EVERY_DAY
        night = datetime(2026, 6, 21, 2, tzinfo=SYDNEY)
        assert abs(expected(rhythm, starts[-1]) - night) < 7 * MINUTE
        assert timedelta() < late(rhythm, starts[-1]) - night <= 30 * MINUTE

    def test_four_runs_are_enough(self) -> None:
        starts = daily(4, date(2026, 6, 1), time(2), SYDNEY)
        assert learn(starts[:3], SYDNEY) is None
        rhythm = learn(starts, SYDNEY)
        assert isinstance(rhythm, TimeOfDay)
        assert rhythm.weekdays == EVERY_DAY

    def test_it_does_not_run_at_weekends(self) -> None:
        starts = daily(20, date(2026, 6, 1), time(7), BERLIN, weekdays=WEEKDAYS)
        rhythm = learn(starts, BERLIN)
        friday, monday = starts[-1], datetime(2026, 6, 29, 7, tzinfo=BERLIN)
        assert friday.weekday() == 4
        assert abs(expected(rhythm, friday) - monday) < 7 * MINUTE

    def test_it_runs_once_a_week(self) -> None:
        starts = daily(5, date(2026, 6, 1), time(7), BERLIN, weekdays=frozenset([2]))
        rhythm = learn(starts, BERLIN)
        assert isinstance(rhythm, TimeOfDay)
        assert rhythm.weekdays == {2}
        assert expected(rhythm, starts[-1]) - starts[-1] > 6.9 * timedelta(days=1)

    @pytest.mark.parametrize("hours", [1, 6, 12])
    def test_it_runs_every_few_hours(self, hours: int) -> None:
        begin = datetime(2026, 6, 1, tzinfo=UTC)
        rhythm = learn([begin + n * hours * HOUR for n in range(20)], SYDNEY)
        assert isinstance(rhythm, Interval)
        assert (rhythm.every, rhythm.grace) == (hours * HOUR, 15 * MINUTE)

    def test_runs_started_by_hand_in_between_do_not_matter(self) -> None:
        starts = daily(18, date(2026, 6, 1), time(2), SYDNEY)
        by_hand = [datetime(2026, 6, day, 15, 20, tzinfo=SYDNEY) for day in (5, 12)]
        rhythm = learn(starts + by_hand, SYDNEY)
        assert isinstance(rhythm, TimeOfDay)
        assert time(2) <= rhythm.at <= time(2, 6)
        # After a run in the afternoon, the night's run is still expected.
        night = datetime(2026, 6, 19, 2, tzinfo=SYDNEY)
        assert abs(expected(rhythm, datetime(2026, 6, 18, 15, tzinfo=SYDNEY)) - night) < 7 * MINUTE

    def test_a_run_at_midnight_may_start_a_little_earlier_or_later(self) -> None:
        begin = datetime(2026, 6, 1, tzinfo=BERLIN)
        starts = [begin + n * timedelta(days=1) + (n % 3 - 1) * 4 * MINUTE for n in range(20)]
        rhythm = learn(starts, BERLIN)
        assert isinstance(rhythm, TimeOfDay)
        assert rhythm.weekdays == EVERY_DAY
        last = starts[-1]
        assert abs(expected(rhythm, last) - (last + timedelta(days=1))) < 10 * MINUTE

    @pytest.mark.parametrize("days", [2, 14])
    def test_it_runs_every_few_days(self, days: int) -> None:
        starts = daily(20 * days, date(2026, 6, 1), time(7), BERLIN)[::days]
        rhythm = learn(starts, BERLIN)
        assert isinstance(rhythm, Interval)
        assert abs(rhythm.every - days * 24 * HOUR) < 12 * MINUTE

    def test_an_outage_of_some_weeks_changes_nothing(self) -> None:
        starts = daily(50, date(2026, 6, 1), time(7), BERLIN)
        rhythm = learn([*starts[:19], starts[-1]], BERLIN)
        assert isinstance(rhythm, TimeOfDay)
        assert rhythm.weekdays == EVERY_DAY

    def test_many_runs_imported_at_once_have_no_rhythm(self) -> None:
        begin = datetime(2026, 6, 1, tzinfo=UTC)
        assert learn([begin + n * 3 * MINUTE for n in range(20)], SYDNEY) is None

    def test_irregular_runs_have_no_rhythm(self) -> None:
        chance = random.Random(1)
        begin = datetime(2026, 6, 1, tzinfo=UTC)
        starts = [begin + chance.randrange(40 * 24 * 60) * MINUTE for _ in range(20)]
        assert learn(starts, SYDNEY) is None

    def test_monthly_runs_have_no_rhythm(self) -> None:
        assert learn([datetime(2026, month, 1, 7, tzinfo=UTC) for month in range(1, 13)], SYDNEY) is None

    def test_centuries_between_runs_cost_nothing(self) -> None:
        assert learn([datetime(year, 1, 1, 7, tzinfo=UTC) for year in range(1970, 9000, 400)], SYDNEY) is None

    def test_runs_at_the_same_time_have_no_rhythm(self) -> None:
        assert learn([datetime(2026, 6, 1, tzinfo=UTC)] * 20, SYDNEY) is None


class TestTheClocksChange:
    """In Berlin, they go forward at 02:00 on 29 March 2026, and back at 03:00 on 25 October 2026."""

    @pytest.mark.parametrize("day", [date(2026, 3, 29), date(2026, 10, 25)])
    def test_a_run_that_follows_the_clocks(self, day: date) -> None:
        starts = daily(20, day - timedelta(days=20), time(7), BERLIN)
        rhythm = learn(starts, BERLIN)
        at = datetime.combine(day, time(7), BERLIN)
        assert abs(expected(rhythm, starts[-1]) - at) < 7 * MINUTE
        # For an hour, it may still be a run that is scheduled in UTC.
        assert late(rhythm, starts[-1]) - at <= HOUR + 30 * MINUTE

    @pytest.mark.parametrize("day", [date(2026, 3, 29), date(2026, 10, 25)])
    def test_a_run_that_is_scheduled_in_utc(self, day: date) -> None:
        starts = daily(20, day - timedelta(days=10), time(5), ZoneInfo("UTC"))
        rhythm = learn(starts, BERLIN)
        assert isinstance(rhythm, TimeOfDay)
        assert rhythm.zone == ZoneInfo("UTC")

    @pytest.mark.parametrize("day", [date(2026, 3, 29), date(2026, 10, 25)])
    @pytest.mark.parametrize("at", all_or_some([time(2), time(7), time(23, 50)], 1))
    @pytest.mark.parametrize("followed", [BERLIN, ZoneInfo("UTC")])
    @pytest.mark.parametrize("zone", [BERLIN, ZoneInfo("UTC"), SYDNEY])
    def test_no_run_is_late_whichever_clocks_it_follows(
        self, day: date, at: time, followed: ZoneInfo, zone: ZoneInfo
    ) -> None:
        starts = daily(40, day - timedelta(days=20), at, followed)
        for number in range(15, 40):
            *known, following = starts[: number + 1]
            deadline = late(learn(known, zone), known[-1])
            assert following < deadline < following + 2.5 * HOUR

    def test_a_time_that_is_skipped(self) -> None:
        rhythm = TimeOfDay(time(2, 30), BERLIN, EVERY_DAY, 15 * MINUTE)
        last = datetime(2026, 3, 28, 2, 31, tzinfo=BERLIN)
        assert expected(rhythm, last) == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)  # 03:30
        assert late(rhythm, last) == datetime(2026, 3, 29, 1, 45, tzinfo=UTC)

    def test_a_time_that_is_repeated(self) -> None:
        rhythm = TimeOfDay(time(2, 30), BERLIN, EVERY_DAY, 15 * MINUTE)
        last = datetime(2026, 10, 24, 2, 31, tzinfo=BERLIN)
        assert expected(rhythm, last) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
        # It may run at the second 02:30.
        assert late(rhythm, last) == datetime(2026, 10, 25, 1, 45, tzinfo=UTC)

    def test_a_run_every_12_hours_that_follows_the_clocks(self) -> None:
        rhythm = Interval(12 * HOUR, 15 * MINUTE, (BERLIN,))
        last = datetime(2026, 10, 24, 19, tzinfo=BERLIN)
        assert late(rhythm, last) == datetime(2026, 10, 25, 7, 15, tzinfo=BERLIN)
        last = datetime(2026, 3, 28, 19, tzinfo=BERLIN)
        assert late(rhythm, last) == last.astimezone(UTC) + 12 * HOUR + 15 * MINUTE


SPAN = datetime(2026, 1, 1), datetime(2027, 12, 31)  # noqa: DTZ001  # hypothesis adds the time zone
moments = st.datetimes(*SPAN, timezones=st.just(UTC))
rhythms = st.one_of(
    st.builds(Interval, st.timedeltas(MINUTE, 30 * timedelta(days=1)), st.just(HOUR), st.just((BERLIN,))),
    st.builds(
        TimeOfDay,
        st.times(),
        st.sampled_from([BERLIN, SYDNEY]),
        st.frozensets(st.sampled_from(range(7)), min_size=1),
        st.just(HOUR),
    ),
)


@given(rhythms, moments)
def test_the_next_run_is_always_expected_later(rhythm: Rhythm, last: datetime) -> None:
    following = rhythm.next_after(last)
    assert last < following.at < following.late_at


@given(st.lists(moments, max_size=25), moments)
def test_any_times_can_be_learned_from(times: list[datetime], last: datetime) -> None:
    rhythm = learn(times, BERLIN)
    if rhythm:
        assert rhythm.next_after(last).at > last
