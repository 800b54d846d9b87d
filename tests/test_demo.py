import io
import json
import os
import signal
import stat
import sys
import time
from collections.abc import Generator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import time_machine
from django.core.files.storage import storages
from django.core.management import CommandError, call_command
from django.db.models import Count
from django.test import TestCase
from pytest_django import Settings

from collections_app.demo import build, content, live
from collections_app.demo.content import AU_LAPTOPS, COLLECTIONS
from collections_app.demo.products import Record, Shop
from collections_app.demo.schedule import CYCLE, DAY, Fault, Outcome, PlannedRun, Story
from collections_app.models import (
    Account,
    ApiKey,
    Collection,
    Event,
    FileKind,
    Kind,
    Membership,
    ResultFile,
    Role,
    Run,
    State,
    Team,
    User,
)
from collections_app.models.run_status import Status
from collections_app.runs.repair import fail_interrupted_runs, repair_runs
from collections_app.runs.writer import ResultSetWriter
from tests.support import databases, server, tools
from tests.support.keys import recognize
from tests.support.results import in_order, make_ready_run
from tests.support.server import environment, manage
from tests.support.tools import ROOT, all_or_few
from tests.test_tracking_compare import compare

GOLDEN = ROOT / "tests" / "golden" / "list_run_results.json"

NAMED_FILES = """
    SELECT run.collection_id, run.number, file.name, file.sha256
    FROM collections_app_resultfile AS file JOIN collections_app_run AS run ON run.id = file.run_id
"""

SYDNEY = ZoneInfo("Australia/Sydney")
TODAY = server.DAY
NOON = datetime(TODAY.year, TODAY.month, TODAY.day, 12, tzinfo=SYDNEY)
NORTHWIND = [story for story in COLLECTIONS if story.team == content.NORTHWIND]


def story_of(pk: int) -> Story:
    return next(story for story in COLLECTIONS if story.id == pk)


def with_newest(story: Story, nights: int) -> Story:
    """Return a story with so many nightly runs."""
    assert story.nightly
    return replace(story, nightly=replace(story.nightly, newest=nights))


def demo(*args: str) -> dict[str, str]:
    """Run the command and return the printed values by label."""
    output = io.StringIO()
    call_command("demo", *args, stdout=output)
    return dict(line.split(": ", 1) for line in output.getvalue().splitlines() if ": " in line)


def create(day: date = TODAY) -> list[Run]:
    return list(build.build(day))


@pytest.mark.thorough
class TestTheStory(TestCase):
    """The content of the demo."""

    runs = Run.objects.filter(collection=101)

    @classmethod
    def setUpTestData(cls) -> None:
        create()

    def test_run_88_is_the_one_in_the_examples(self) -> None:
        collection = Collection.objects.get(pk=101)
        assert (collection.name, collection.kind) == ("AU Laptops", "amazon")
        run = collection.runs.get(number=88)
        assert (run.state, run.extracted, run.total) == (State.READY, 250, 250)
        assert run.created_at == datetime(2026, 6, 20, 12, tzinfo=UTC)
        assert run.updated_at == datetime(2026, 6, 20, 12, 5, tzinfo=UTC)
        assert [file.name for file in run.files.order_by("kind")] == [
            "AU Laptops_88_Results_All_Pages.zip",
            "AU Laptops_88_Results_Page_1.json",
        ]

    def request(self, **where: int) -> dict[str, Any]:
        sign_in = build.sign_in()
        assert sign_in is not None
        response: dict[str, Any] = self.client.post(
            "/api/v1/schedules/collections/results/download/",
            {"collection_id": 101, "limit": 5} | where,
            content_type="application/json",
            headers={"x-api-key": sign_in.api_key},
        ).json()
        return response

    def test_the_example_request_gets_the_newest_runs(self) -> None:
        newest = self.runs.newest_first()[:5]
        assert [run["id"] for run in self.request(skip=0)["data"]] == [run.number for run in newest]

    def test_run_88_is_found_and_gets_the_example_response(self) -> None:
        golden = in_order(
            json.loads(GOLDEN.read_text().replace("https://multicartapi.com", "http://testserver"))
        )
        newer = self.runs.filter(number__gt=88).count()
        for response in (self.request(before=89), self.request(skip=newer)):
            assert [run["id"] for run in response["data"]] == [88, 87, 86, 85, 84]
            assert in_order(response | {"data": response["data"][:1]}) == golden

    def test_after_a_gap_there_are_daily_runs_up_to_last_night(self) -> None:
        times = dict(self.runs.values_list("number", "created_at"))
        assert times[92] - times[91] > timedelta(days=30)
        assert all(times[number + 1] - times[number] == timedelta(days=1) for number in range(92, max(times)))
        assert timedelta(0) < NOON - times[max(times)] < timedelta(hours=18)

    def test_the_feed_has_the_events_of_two_weeks_in_their_order(self) -> None:
        events = Event.objects.after(content.NORTHWIND, 0)
        of_runs = [event for event in events if event.kind.startswith("run.")]
        times = [event.at for event in of_runs if event.kind not in {"run.stalled", "run.broken"}]
        assert times == sorted(times)
        assert len(times) > 50
        assert NOON - min(times) < timedelta(days=14)
        kinds = {event.kind for event in events}
        assert {"run.completed", "run.failed", "collection.recovered", "collection.late"} <= kinds

    def test_there_is_more_to_load(self) -> None:
        assert 50 < self.runs.count() <= 120
        assert Run.objects.count() > 200

    def test_runs_have_every_status(self) -> None:
        # The clock is stopped, and this only reads: an S3 server would reject this time.
        with time_machine.travel(NOON, tick=False):
            statuses = {status: Run.objects.with_status(status).count() for status in Status}
        assert all(statuses.values()), statuses
        assert [statuses[status] for status in (Status.PROCESSING, Status.STALLED)] == [1, 1]
        assert len({run.failure_reason for run in Run.objects.filter(state=State.FAILED)}) > 2

    def test_the_unfinished_runs_have_no_writer(self) -> None:
        unfinished = Run.objects.filter(state=State.PROCESSING)
        assert [run.lease_expires_at for run in unfinished] == [None, None]
        assert all(run.files.filter(kind=FileKind.PAGE).exists() for run in unfinished)

    def test_the_processing_run_stays_processing_for_hours(self) -> None:
        run = Run.objects.get(collection=108, state=State.PROCESSING)
        statuses = []
        for hours in (0, 3, 12):
            with time_machine.travel(NOON + timedelta(hours=hours), tick=False):
                statuses.append(run.status)
        assert statuses == [Status.PROCESSING, Status.PROCESSING, Status.STALLED]

    def test_only_one_collection_is_late(self) -> None:
        late = Collection.objects.current().filter(late_at__lte=NOON)
        assert [collection.pk for collection in late] == [110]
        expected = Collection.objects.current().filter(late_at__gt=NOON)
        assert expected.count() == 11

    def test_one_run_has_40_pages(self) -> None:
        pages = Run.objects.filter(files__kind=FileKind.PAGE).annotate(listed_pages=Count("files"))
        assert max(run.listed_pages for run in pages) == 40  # type: ignore[attr-defined]

    def test_there_are_collections_of_every_kind(self) -> None:
        northwind = Collection.objects.filter(team__name="Northwind Pricing")
        assert {collection.kind for collection in northwind} == set(Kind.values)
        assert northwind.filter(runs=None, archived_at=None).exists()
        assert northwind.exclude(archived_at=None).exists()
        strange = northwind.get(name__contains='"').name
        assert "/" in strange
        assert not strange.isascii()

    def test_the_second_team_has_its_own_collections_and_people(self) -> None:
        other = Team.objects.exclude(name="Northwind Pricing").get()
        assert other.collections.filter(runs__state=State.READY).exists()
        assert other.memberships.exclude(user__email=content.OLIVIA.email).exists()

    def test_olivia_owns_the_first_team_and_can_switch_to_the_other(self) -> None:
        teams = Membership.objects.filter(user__email="olivia@example.com").order_by("team__name")
        assert [(membership.team.name, membership.role) for membership in teams] == [
            ("Northwind Pricing", Role.OWNER),
            ("Southbank Stationers", Role.MEMBER),
        ]

    def test_there_are_people_with_every_role(self) -> None:
        assert {membership.role for membership in Membership.objects.filter(team=1)} == set(Role.values)

    def test_everyone_has_the_same_password(self) -> None:
        sign_in = build.sign_in()
        assert sign_in is not None
        assert all(user.check_password(sign_in.password) for user in User.objects.all())

    @pytest.fixture(autouse=True)
    def built_elsewhere(self, demo_data: Path) -> None:
        self.demo_data = demo_data

    def test_the_demo_is_identical_byte_for_byte_everywhere(self) -> None:
        ours = ResultFile.objects.values_list("run__collection_id", "run__number", "name", "sha256")
        theirs = databases.execute(self.demo_data, NAMED_FILES)
        assert set(ours) == set(theirs)

    def test_a_new_collection_gets_the_next_id(self) -> None:
        assert Collection.objects.create(team_id=1, name="New").pk > 203


def changed(earlier: list[Record], later: list[Record]) -> list[tuple[Record, Record]]:
    """Return the products that differ between both runs, ignoring fields that differ in every run."""
    always = ("scraped_at", "best_sellers_rank")
    by_asin = {record["asin"]: record for record in earlier}
    both = [(by_asin[record["asin"]], record) for record in later if record["asin"] in by_asin]
    return [(a, b) for a, b in both if any(a[name] != b[name] for name in a if name not in always)]


@pytest.fixture(scope="module")
def nights() -> list[list[Record]]:
    """The records of 60 nights of a shop."""
    shop = Shop(with_newest(AU_LAPTOPS, 60))
    return [list(shop.records(replace(run, outcome=Outcome()))) for run in shop.story.runs(NOON)[-60:]]


class TestTheRecords:
    """What changes from night to night."""

    def test_1_to_3_percent_of_the_products_change(self, nights: list[list[Record]]) -> None:
        shares = [len(changed(a, b)) / len(b) for a, b in pairwise(nights)]
        assert all(0.01 <= share <= 0.03 for share in shares), shares

    def test_ids_are_stable_and_unique(self, nights: list[list[Record]]) -> None:
        ids = [{record["asin"] for record in night} for night in nights]
        assert all(len(each) == 250 for each in ids)
        assert all(len(a - b) <= 1 for a, b in pairwise(ids))
        assert ids[0] - ids[-1], "no product is gone"

    def test_a_product_disappears_and_returns(self, nights: list[list[Record]]) -> None:
        for number, night in enumerate(nights):
            nights_of = {record["asin"] for record in night}
            gone = {record["asin"] for record in nights[number - 1]} - nights_of if number else set()
            later = {record["asin"] for each in nights[number + 1 :] for record in each}
            if gone & later:
                return
        pytest.fail("No product returned.")

    def test_the_changes_of_a_week_tell_a_story(self, nights: list[list[Record]], tmp_path: Path) -> None:
        entries, _ = compare(nights[-8], nights[-1], tmp_path)
        stable = [entry for entry in entries if not entry.is_volatile]
        assert not {entry.column for entry in stable} & {"scraped_at", "best_sellers_rank"}
        assert len({entry.key for entry in stable}) <= 7 * 0.03 * len(nights[-1])
        told = {entry.kind.value for entry in stable}
        assert told >= {"price_down", "price_up", "sold_out", "back", "seller", "new", "missing"}

    def of_each_product(self, nights: list[list[Record]], column: str) -> list[list[object]]:
        by_asin: dict[str, list[object]] = {}
        for record in (record for night in nights for record in night):
            by_asin.setdefault(record["asin"], []).append(record[column])
        return list(by_asin.values())

    def test_sales_last_for_days(self, nights: list[list[Record]]) -> None:
        lasted = []
        for prices in self.of_each_product(nights, "price_cents"):
            for start in range(1, len(prices)):
                usual = prices[start - 1]
                if prices[start] < 0.95 * usual and usual in prices[start:]:  # type: ignore[operator]
                    lasted.append(prices[start:].index(usual))
        assert len(lasted) > 10
        assert min(lasted) >= 4

    def test_products_sell_out_and_return(self, nights: list[list[Record]]) -> None:
        stock = self.of_each_product(nights, "in_stock")
        assert any(each[0] and False in each and each[-1] for each in stock)

    def test_a_seller_takes_over(self, nights: list[list[Record]]) -> None:
        for_good = [
            names
            for each in self.of_each_product(nights, "seller_name")
            if len(names := [name for name in each if name]) == len(each) and len(set(names)) == 2
        ]
        assert any(names == sorted(names, key=lambda name: name != names[0]) for names in for_good)

    def test_in_one_run_the_selector_of_the_price_found_nothing(self) -> None:
        shop = Shop(AU_LAPTOPS)
        runs = AU_LAPTOPS.runs(NOON)
        (broken,) = [run for run in runs if run.outcome.fault is Fault.NO_PRICES]
        records = list(shop.records(broken))
        assert {record["price_cents"] for record in records} == {None}
        assert not any("list_price_cents" in record for record in records)

    def test_in_one_run_the_shop_answered_with_a_captcha(self) -> None:
        pens = story_of(111)
        (captcha,) = [run for run in pens.runs(NOON) if run.outcome.fault is Fault.CAPTCHA]
        titles = [record["title"] for record in Shop(pens).records(captcha)]
        assert titles.count("Robot Check") == 25

    def test_they_depend_only_on_the_night(self) -> None:
        shop, other = Shop(AU_LAPTOPS), Shop(AU_LAPTOPS)
        run = AU_LAPTOPS.runs(NOON)[-3]
        list(other.records(AU_LAPTOPS.runs(NOON)[-1]))
        assert list(shop.records(run)) == list(other.records(run))


MOMENTS = [NOON + timedelta(hours=hours) for hours in range(0, 24 * CYCLE, 5)]


def failures_in_a_row(runs: list[PlannedRun]) -> int:
    return len(list(takewhile(lambda run: run.outcome.failure, reversed(runs))))


class TestTheSchedule:
    """The runs of a demo that is created at any moment."""

    @pytest.mark.parametrize("now", all_or_few(MOMENTS, *MOMENTS[:4]))
    def test_nothing_lies_in_the_future(self, now: datetime) -> None:
        for story in COLLECTIONS:
            for run in story.runs(now):
                assert run.progressed_at <= now
                assert run.is_paused or run.ended_at <= now

    @pytest.mark.parametrize("now", all_or_few(MOMENTS, *MOMENTS[:4]))
    def test_last_night_is_complete(self, now: datetime) -> None:
        begin = datetime.combine(now.astimezone(SYDNEY).date() - DAY, datetime.min.time(), SYDNEY)
        for story in COLLECTIONS:
            if story.nightly and story.nightly.every == 1 and not story.nightly.late_by:
                assert story.runs(now)[-1].started_at > begin + timedelta(hours=18), story.name

    @pytest.mark.parametrize("now", all_or_few(MOMENTS, *MOMENTS[:4]))
    def test_one_collection_is_late(self, now: datetime) -> None:
        (late,) = [story for story in COLLECTIONS if story.nightly and story.nightly.late_by]
        assert now - late.runs(now)[-1].started_at > timedelta(days=2)

    @pytest.mark.parametrize("now", all_or_few(MOMENTS, *MOMENTS[:4]))
    def test_one_run_is_processing_and_one_has_stopped(self, now: datetime) -> None:
        unfinished = {story.id: [run for run in story.runs(now) if run.is_paused] for story in COLLECTIONS}
        assert {pk: len(runs) for pk, runs in unfinished.items() if runs} == {108: 1, 109: 1}
        assert now - unfinished[108][0].progressed_at < timedelta(hours=4)
        assert all(unfinished[pk][0] == story_of(pk).runs(now)[-1] for pk in (108, 109))

    def test_every_day_a_collection_has_failed_three_times_in_a_row(self) -> None:
        for days in range(CYCLE):
            now = NOON + days * DAY
            streaks = [failures_in_a_row(story.runs(now)) for story in NORTHWIND]
            assert len([streak for streak in streaks if streak >= 3]) == 1, (now, streaks)

    def test_every_night_one_of_those_collections_is_incomplete(self) -> None:
        for days in range(CYCLE):
            last = [story_of(pk).runs(NOON + days * DAY)[-1].outcome for pk in (102, 103, 104, 107)]
            assert len([run for run in last if run.found and not run.failure]) == 1

    def test_a_demo_has_one_empty_and_one_incomplete_night(self) -> None:
        found = [run.outcome for run in AU_LAPTOPS.runs(NOON)[-CYCLE:]]
        assert [run.found for run in found if run.found is not None and not run.failure].count(0) == 1
        assert 231 in [run.found for run in found]

    def test_runs_follow_the_clocks_of_sydney(self) -> None:
        after_the_change = datetime(2026, 10, 8, 12, tzinfo=SYDNEY)  # clocks went forward on 4 October
        times = [run.started_at.astimezone(SYDNEY) for run in AU_LAPTOPS.runs(after_the_change)[-CYCLE:]]
        assert {(time.hour, time.minute) for time in times} == {(22, 0)}
        assert len({time.utcoffset() for time in times}) == 2


@pytest.fixture
def short_story(monkeypatch: pytest.MonkeyPatch, settings: Settings, tmp_path: Path) -> Path:
    """A shorter demo, in its own data folder."""
    assert AU_LAPTOPS.early
    laptops = replace(AU_LAPTOPS, early=replace(AU_LAPTOPS.early, runs=range(88, 92)))
    short = [*(with_newest(story, 2) for story in (laptops, *map(story_of, (108, 109, 110)))), story_of(105)]
    monkeypatch.setattr(build, "COLLECTIONS", short)
    settings.DATA_DIR = tmp_path
    return tmp_path


NUMBERS = [88, 89, 90, 91, 92, 93, 1, 2, 1, 2, 1, 2]


def demo_of(folder: Path) -> dict[str, str]:
    sign_in = json.loads((folder / "demo.json").read_text())
    return {"Email": sign_in["email"], "Password": sign_in["password"], "API key": sign_in["api_key"]}


def rows() -> list[object]:
    return [
        list(model.objects.order_by("pk").values())
        for model in (User, Team, Membership, ApiKey, Run, ResultFile)
    ]


@pytest.mark.django_db
class TestTheCommand:
    def test_it_prints_a_working_sign_in(self, short_story: Path) -> None:
        printed = demo("--day", str(TODAY))
        user = User.objects.get(email=printed["Email"])
        assert user.check_password(printed["Password"])
        key = recognize(printed["API key"])
        assert key is not None
        assert (key.membership.user, key.membership.role) == (user, Role.OWNER)

    def test_only_the_owner_can_read_the_sign_in_file(self, short_story: Path) -> None:
        printed = demo("--day", str(TODAY))
        assert demo_of(short_story) == printed
        assert stat.S_IMODE((short_story / "demo.json").stat().st_mode) == 0o600

    def test_a_second_call_prints_the_same_and_changes_nothing(self, short_story: Path) -> None:
        printed = demo("--day", str(TODAY))
        before = rows()
        assert demo("--day", str(TODAY)) == printed
        assert rows() == before

    def test_additions_to_the_demo_stay(self, short_story: Path) -> None:
        printed = demo("--day", str(TODAY))
        Collection.objects.create(team_id=1, name="Mine")
        User.objects.create_user("new@example.com")
        before = rows()
        assert demo("--day", str(TODAY)) == printed
        assert rows() == before

    def test_a_database_with_other_data_is_left_alone(self, short_story: Path, alice: User) -> None:
        before = rows()
        with pytest.raises(CommandError, match="contains other data, so the demo isn't created"):
            demo()
        assert rows() == before
        assert not (short_story / "demo.json").exists()

    def test_the_sign_in_of_another_database_is_ignored(self, short_story: Path, strangers: Team) -> None:
        sign_in = build.SignIn("olivia@example.com", "secret", "key", finished=True)
        (short_story / "demo.json").write_text(json.dumps(vars(sign_in)))
        with pytest.raises(CommandError, match="contains other data"):
            demo()

    def test_a_damaged_sign_in_file_is_ignored(self, short_story: Path) -> None:
        (short_story / "demo.json").write_text('["no sign-in"')
        assert demo() == demo_of(short_story)


def interrupted(after: int) -> Generator[Run]:
    """Create `after` runs of the demo. Closing the generator stops there, as a kill does."""
    making = build.build(TODAY)
    for _ in range(after):
        next(making)
    return making


@pytest.mark.django_db
class TestAfterAKill:
    @pytest.mark.parametrize("after", all_or_few(range(1, 7), 3))
    def test_the_next_call_completes_the_demo(self, short_story: Path, after: int) -> None:
        interrupted(after).close()
        assert build.sign_in() is None
        assert demo("--day", str(TODAY)) == demo_of(short_story)
        assert [run.number for run in Run.objects.order_by("pk")] == NUMBERS
        assert not repair_runs().was_needed
        assert User.objects.count() == len(content.PEOPLE)

    def test_a_run_that_was_being_written_is_replaced(self, short_story: Path) -> None:
        interrupted(2).close()
        killed = ResultSetWriter.start(Collection.objects.get(pk=101))
        killed.add_record({"asin": "B0"})
        create()
        killed.discard()
        assert [run.number for run in Run.objects.order_by("pk")] == NUMBERS
        stored = {
            f"101/{number}/{name}"
            for number in (88, 90, 92, 93)
            for name in storages["results"].listdir(f"101/{number}")[1]
        }
        assert stored == set(ResultFile.objects.filter(run__collection=101).values_list("key", flat=True))

    def test_other_data_added_in_the_meantime_is_not_removed(self, short_story: Path) -> None:
        interrupted(1).close()
        Team.objects.create(name="Mine")
        before = rows()
        with pytest.raises(CommandError, match="contains other data"):
            demo()
        assert rows() == before


LATER = TODAY + 3 * DAY


def numbers_of_laptops() -> list[int]:
    return list(Run.objects.filter(collection=101).order_by("number").values_list("number", flat=True))


def states() -> dict[tuple[int, datetime], object]:
    """Return the fields and files of runs, without their numbers and names."""
    pages = FileKind.PAGE
    return {
        (run.collection_id, run.created_at): (
            run.state,
            run.extracted,
            list(run.files.filter(kind=pages).order_by("position").values_list("sha256", flat=True)),
        )
        for run in Run.objects.all()
    }


def finished() -> list[object]:
    """Return the rows of runs that have ended, and of their files."""
    return [
        list(Run.objects.exclude(state=State.PROCESSING).order_by("pk").values()),
        list(ResultFile.objects.exclude(run__state=State.PROCESSING).order_by("pk").values()),
    ]


def remove_everything(folder: Path) -> None:
    (folder / "demo.json").unlink()
    Run.objects.update(lease_expires_at=None)
    for model in (Run, Collection, Account, Team, User):
        model.objects.all().delete()


@pytest.mark.django_db
class TestOnALaterDay:
    def test_the_runs_since_then_are_added(self, short_story: Path) -> None:
        create()
        numbers = numbers_of_laptops()
        added = create(TODAY + DAY)
        assert [(run.collection_id, run.number) for run in added if run.collection_id == 101] == [(101, 94)]
        assert numbers_of_laptops() == [*numbers, 94]
        assert create(TODAY + DAY) == []

    def test_finished_runs_and_their_files_do_not_change(self, short_story: Path) -> None:
        create()
        runs, files = finished()
        create(LATER)
        later_runs, later_files = finished()
        assert [run for run in later_runs if run in runs] == runs  # type: ignore[attr-defined, operator]
        assert [file for file in later_files if file in files] == files  # type: ignore[attr-defined, operator]

    @pytest.mark.thorough
    def test_a_new_demo_on_that_day_has_the_same_runs(self, short_story: Path) -> None:
        create()
        for days in (1, 2, 3):
            create(TODAY + days * DAY)
        added = states()
        remove_everything(short_story)
        create(LATER)
        created = states()
        assert created.items() <= added.items()
        assert len(created) < len(added)

    def test_unfinished_runs_continue(self, short_story: Path) -> None:
        create()
        unfinished = set(Run.objects.filter(state=State.PROCESSING).values_list("pk", flat=True))
        create(LATER)
        for run in Run.objects.filter(pk__in=unfinished):
            assert (run.state, run.extracted) == (State.READY, run.total)
        assert Run.objects.filter(state=State.PROCESSING).exclude(pk__in=unfinished).count() == 2

    @pytest.mark.thorough
    def test_a_few_hours_later_only_the_long_run_has_more_pages(
        self, short_story: Path, results_folder: Path
    ) -> None:
        create()
        before = Run.objects.get(collection=108, state=State.PROCESSING)
        assert before.extracted
        with time_machine.travel(NOON + timedelta(hours=4)):
            (run,) = build.build()
        assert (run.pk, run.extracted) == (before.pk, before.extracted + 20)
        assert run.files.filter(kind=FileKind.PAGE).count() == before.extracted // 20 + 1

    @pytest.mark.thorough
    def test_after_a_long_time_only_the_newest_nights_are_added(self, short_story: Path) -> None:
        create(date(2026, 9, 1))
        create(TODAY)
        assert numbers_of_laptops()[-5:] == [91, 92, 93, 94, 95]

    def test_a_demo_of_an_older_version_gets_the_new_runs(self, short_story: Path) -> None:
        create(date(2026, 6, 24))
        saved = json.loads((short_story / "demo.json").read_text())
        del saved["until"]
        (short_story / "demo.json").write_text(json.dumps(saved))
        Run.objects.filter(collection__in=(108, 109, 110)).delete()
        Collection.objects.filter(pk__in=(108, 109, 110)).delete()
        Run.objects.filter(number=91).update(state=State.PROCESSING, failure_reason="")
        create()
        runs = Run.objects.order_by("number")
        assert [(run.number, run.state) for run in runs][-3:] == [
            (91, State.PROCESSING),
            (92, State.READY),
            (93, State.READY),
        ]

    @pytest.mark.thorough
    def test_changes_by_people_are_kept(self, short_story: Path) -> None:
        create()
        Run.objects.get(collection=101, number=93).delete()
        Run.objects.get(collection=108, state=State.PROCESSING).delete()
        Collection.objects.filter(pk=101).update(name="My laptops")
        Collection.objects.get(pk=110).archive()
        Run.objects.filter(collection=109).delete()
        Collection.objects.filter(pk=109).delete()
        mine = make_ready_run(Collection.objects.get(pk=101))
        create(TODAY + DAY)
        assert numbers_of_laptops() == [88, 89, 90, 91, 92, 94, 95]
        assert Run.objects.get(pk=mine.pk).number == 94
        added = Run.objects.get(collection=101, number=95)
        assert added.files.filter(name="My laptops_95_Results_Page_1.json").exists()
        assert Run.objects.filter(collection=110).count() == 2
        assert Run.objects.filter(collection=108).count() == 2
        assert not Run.objects.filter(collection=109).exists()

    @pytest.mark.parametrize("after", all_or_few(range(1, 8), 2))
    def test_an_interrupted_addition_continues(self, short_story: Path, after: int) -> None:
        create()
        adding = build.build(LATER)
        for _ in range(after):
            next(adding)
        adding.close()
        create(LATER)
        added = states()
        assert len(added) == Run.objects.count()
        remove_everything(short_story)
        create(LATER)
        assert states().items() <= added.items()

    @pytest.mark.thorough
    def test_a_run_whose_addition_was_killed_is_completed(self, short_story: Path) -> None:
        create()
        started_at = AU_LAPTOPS.runs(NOON + DAY)[-1].started_at
        writer = ResultSetWriter.start(Collection.objects.get(pk=101), total=250, created_at=started_at)
        writer.add_record({"asin": "B0"})
        create(TODAY + DAY)
        run = Run.objects.get(collection=101, number=94)
        assert (run.pk, run.state, run.extracted) == (writer.run.pk, State.READY, 250)
        writer.discard()

    def test_a_day_in_the_future_is_rejected(self, short_story: Path) -> None:
        with pytest.raises(CommandError, match="invalid _day value: '9999-12-31'"):
            demo("--day", "9999-12-31")


@pytest.mark.django_db
class TestLive:
    @pytest.fixture(autouse=True)
    def created(self, short_story: Path) -> None:
        create()

    @pytest.fixture
    def waits(self, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        waits: list[float] = []
        monkeypatch.setattr("collections_app.demo.live.time.sleep", waits.append)
        return waits

    def written(self, count: int) -> list[Run]:
        writing = live.write_runs()
        return [next(writing) for _ in range(count)]

    def test_a_run_takes_about_40_seconds(self, waits: list[float]) -> None:
        (run,) = self.written(1)
        assert (run.collection_id, run.state, run.extracted, run.total) == (105, State.READY, 35, 35)
        assert run.files.filter(kind=FileKind.PAGE).count() == 7
        assert 35 < sum(waits) < 45

    def test_one_run_follows_another(self, waits: list[float]) -> None:
        one, other = self.written(2)
        assert other.number == one.number + 1
        assert waits.count(live.SECONDS_BETWEEN_RUNS) == 1

    def test_old_runs_of_this_process_are_deleted(
        self, waits: list[float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(live, "KEPT_RUNS", 2)
        mine = make_ready_run(Collection.objects.get(pk=105))
        runs = self.written(3)
        assert list(Run.objects.filter(collection=105).order_by("pk")) == [mine, *runs[1:]]

    def test_an_interrupted_run_is_deleted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupt(seconds: float) -> None:
            if Run.objects.filter(collection=105, extracted=10).exists():
                raise KeyboardInterrupt

        monkeypatch.setattr("collections_app.demo.live.time.sleep", interrupt)
        demo("--live", "--day", str(TODAY))
        assert not Run.objects.filter(collection=105).exists()
        assert not repair_runs().was_needed

    def test_a_killed_run_fails_and_the_next_one_starts(self, waits: list[float]) -> None:
        killed = Run.objects.create_next(
            Collection.objects.get(pk=105), attempt="killed", lease_expires_at=NOON - DAY
        )
        (run,) = self.written(1)
        assert run.number == killed.number + 1
        assert fail_interrupted_runs() == [killed]

    def test_an_archived_collection_is_an_error(self, waits: list[float]) -> None:
        Collection.objects.get(pk=105).archive()
        with pytest.raises(CommandError, match="Robot vacuums was archived or deleted"):
            demo("--live", "--day", str(TODAY))

    def test_only_one_process_writes_them(self, waits: list[float]) -> None:
        writing = live.write_runs()
        next(writing)
        with pytest.raises(CommandError, match="Another process is already writing the demo's runs"):
            demo("--live", "--day", str(TODAY))


@pytest.mark.thorough
class TestRealProcesses:
    @pytest.fixture
    def data_dir(self, tmp_path: Path) -> Path:
        manage(tmp_path, "migrate", "--verbosity=0")
        return tmp_path

    def start(self, data_dir: Path, *options: str) -> tools.Process:
        command = [sys.executable, "manage.py", "demo", *options]
        return tools.start(
            *command, env=environment(data_dir), stdout=tools.PIPE, stderr=tools.PIPE, text=True
        )

    def test_two_at_once_create_one_demo(self, data_dir: Path) -> None:
        both = [self.start(data_dir), self.start(data_dir)]
        one, other = (process.communicate(timeout=tools.PATIENCE) for process in both)
        assert one[0] == other[0]
        assert "Password: " in one[0], one[1]

    def test_a_killed_demo_is_completed_by_the_next_call(self, data_dir: Path) -> None:
        with self.start(data_dir, "--day", str(TODAY)) as process:
            runs = data_dir / "results" / "101"
            while process.poll() is None and len(list(runs.glob("*"))) < 4:
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
        assert not json.loads((data_dir / "demo.json").read_text())["finished"]
        assert "API key: " in manage(data_dir, "demo", "--day", str(TODAY))
        ((count,),) = databases.execute(data_dir, "SELECT count(*) FROM collections_app_run")
        ((files,),) = databases.execute(data_dir, "SELECT count(*) FROM collections_app_resultfile")
        assert count == sum(len(story.runs(NOON)) for story in COLLECTIONS)
        assert sum(len(names) for _, _, names in os.walk(data_dir / "results")) == files

    @pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
    def test_a_live_demo_ends_cleanly(self, demo_data: Path, tmp_path: Path, how: signal.Signals) -> None:
        data_dir = databases.copy(demo_data, tmp_path / "data")
        processing = "SELECT count(*) FROM collections_app_run WHERE collection_id = 105"
        with self.start(data_dir, "--live", "--day", str(TODAY)) as process:
            while process.poll() is None and databases.execute(data_dir, processing) == [(0,)]:
                time.sleep(0.05)
            process.send_signal(how)
            assert process.wait(tools.PATIENCE) == 0
        assert databases.execute(data_dir, processing) == [(0,)]
