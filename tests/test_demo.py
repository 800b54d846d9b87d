import io
import json
import os
import signal
import stat
import sys
import time
from collections.abc import Generator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import time_machine
from django.core.files.storage import storages
from django.core.management import CommandError, call_command
from django.db.models import Count, F
from django.test import TestCase
from pytest_django import Settings

from collections_app.demo import build, content
from collections_app.demo.catalog import LAPTOPS
from collections_app.demo.products import product_records
from collections_app.models import (
    ApiKey,
    Collection,
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
from collections_app.runs.repair import repair_runs
from collections_app.runs.writer import ResultSetWriter
from tests.support import databases, tools
from tests.support.keys import recognize
from tests.support.results import in_order
from tests.support.server import environment, manage
from tests.support.tools import ROOT, all_or_few

GOLDEN = ROOT / "tests" / "golden" / "list_run_results.json"

NAMED_FILES = """
    SELECT run.collection_id, run.number, file.name, file.sha256
    FROM collections_app_resultfile AS file JOIN collections_app_run AS run ON run.id = file.run_id
"""


def demo(*args: str) -> dict[str, str]:
    """Run the command and return the printed values by label."""
    output = io.StringIO()
    call_command("demo", *args, stdout=output)
    return dict(line.split(": ", 1) for line in output.getvalue().splitlines() if ": " in line)


class TestTheStory(TestCase):
    """The content of the demo."""

    runs = Run.objects.filter(collection=101)

    @classmethod
    def setUpTestData(cls) -> None:
        # Not the day on which demo_data is created.
        with time_machine.travel("2031-02-03", tick=True):
            for _ in build.build():
                pass

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
        assert run in self.runs.newest_first()[:5]

    def test_the_example_request_gets_the_example_response(self) -> None:
        sign_in = build.sign_in()
        assert sign_in is not None
        response = self.client.post(
            "/api/v1/schedules/collections/results/download/",
            '{ "collection_id": 101, "skip": 0, "limit": 5 }',
            content_type="application/json",
            headers={"x-api-key": sign_in.api_key},
        ).json()
        assert [run["id"] for run in response["data"]] == [91, 90, 89, 88, 87]
        golden = GOLDEN.read_text().replace("https://multicartapi.com", "http://testserver")
        assert in_order(response | {"data": response["data"][3:4]}) == in_order(json.loads(golden))

    def test_the_newest_run_is_processing_with_part_of_its_pages(self) -> None:
        newest = self.runs.newest_first()[0]
        assert (newest.state, newest.extracted, newest.total) == (State.PROCESSING, 187, 250)
        assert newest.files.filter(kind=FileKind.PAGE).count() > 2
        assert newest.lease_expires_at is None

    def test_there_is_more_to_load(self) -> None:
        assert self.runs.count() > 60
        assert self.runs.filter(state=State.READY).count() > 50
        assert Run.objects.count() > 120

    def test_runs_have_every_outcome(self) -> None:
        assert {run.state for run in Run.objects.all()} == set(State.values)
        ready = Run.objects.filter(state=State.READY)
        assert ready.filter(extracted=0).exists()
        assert ready.filter(extracted__gt=0, extracted__lt=F("total")).exists()
        assert len({run.failure_reason for run in Run.objects.filter(state=State.FAILED)}) > 2

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


def test_prices_stock_and_ratings_change_from_run_to_run() -> None:
    one, other = (
        list(product_records(Kind.AMAZON, LAPTOPS, number, 250, datetime(2026, 6, 1, tzinfo=UTC)))
        for number in (87, 88)
    )
    assert [record["title"] for record in one] == [record["title"] for record in other]
    for changing in ("price_cents", "stock", "rating", "ratings_count"):
        assert [record[changing] for record in one] != [record[changing] for record in other], changing
    changes = [abs(a["price_cents"] / b["price_cents"] - 1) for a, b in zip(one, other, strict=True)]
    assert sorted(changes)[125] < 0.02  # most prices change only a little
    assert len({record["asin"] for record in one}) == 250


@pytest.fixture
def short_story(monkeypatch: pytest.MonkeyPatch, settings: Settings, tmp_path: Path) -> Path:
    """A shorter demo, in its own data folder."""
    (laptops,) = (told for told in content.COLLECTIONS if told.id == 101)
    headphones = next(told for told in content.COLLECTIONS if told.id == 102)
    short = [
        content.Story(**vars(laptops) | {"runs": range(88, 92)}),
        content.Story(**vars(headphones) | {"runs": range(5, 7)}),
    ]
    monkeypatch.setattr(build, "COLLECTIONS", short)
    settings.DATA_DIR = tmp_path
    return tmp_path


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
        printed = demo()
        user = User.objects.get(email=printed["Email"])
        assert user.check_password(printed["Password"])
        key = recognize(printed["API key"])
        assert key is not None
        assert (key.membership.user, key.membership.role) == (user, Role.OWNER)

    def test_only_the_owner_can_read_the_sign_in_file(self, short_story: Path) -> None:
        printed = demo()
        assert demo_of(short_story) == printed
        assert stat.S_IMODE((short_story / "demo.json").stat().st_mode) == 0o600

    def test_a_second_call_prints_the_same_and_changes_nothing(self, short_story: Path) -> None:
        printed = demo()
        before = rows()
        assert demo() == printed
        assert rows() == before

    def test_additions_to_the_demo_stay(self, short_story: Path) -> None:
        printed = demo()
        Collection.objects.create(team_id=1, name="Mine")
        User.objects.create_user("new@example.com")
        before = rows()
        assert demo() == printed
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
    making = build.build()
    for _ in range(after):
        next(making)
    return making


@pytest.mark.django_db
class TestAfterAKill:
    @pytest.mark.parametrize("after", all_or_few(range(1, 7), 3))
    def test_the_next_call_completes_the_demo(self, short_story: Path, after: int) -> None:
        interrupted(after).close()
        assert build.sign_in() is None
        assert demo() == demo_of(short_story)
        assert [run.number for run in Run.objects.order_by("pk")] == [88, 89, 90, 91, 5, 6]
        assert not repair_runs().was_needed
        assert User.objects.count() == len(content.PEOPLE)

    def test_a_run_that_was_being_written_is_replaced(self, short_story: Path) -> None:
        interrupted(2).close()
        killed = ResultSetWriter.start(Collection.objects.get(pk=101))
        killed.add_record({"asin": "B0"})
        demo()
        killed.discard()
        assert [run.number for run in Run.objects.order_by("pk")] == [88, 89, 90, 91, 5, 6]
        stored = {
            f"101/{number}/{name}"
            for number in (88, 90, 91)
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


@pytest.mark.django_db
class TestLive:
    @pytest.fixture(autouse=True)
    def quickly(self, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        waits: list[float] = []
        monkeypatch.setattr("collections_app.management.commands.demo.time.sleep", waits.append)
        return waits

    def test_the_run_completes_page_by_page_and_the_next_one_starts(
        self, short_story: Path, quickly: list[float]
    ) -> None:
        demo("--live")
        following, run = Run.objects.filter(collection=101).order_by("-number")[:2]
        assert (run.number, run.state, run.extracted, run.total) == (91, State.READY, 250, 250)
        pages = [file.records for file in run.files.filter(kind=FileKind.PAGE).order_by("position")]
        assert pages == [50, 50, 50, 37, 50, 13]
        assert len(quickly) == 2
        assert (following.number, following.state, following.total) == (92, State.PROCESSING, 250)

    def test_its_records_equal_those_of_an_uninterrupted_run(self, short_story: Path) -> None:
        demo("--live")
        run = Run.objects.get(collection=101, number=91)
        found = []
        for page in run.files.filter(kind=FileKind.PAGE).order_by("position"):
            with storages["results"].open(page.key) as file:
                found += json.load(file)
        started_at = run.created_at
        assert found == list(product_records(Kind.AMAZON, LAPTOPS, 91, 250, started_at))

    def test_it_can_be_repeated(self, short_story: Path) -> None:
        demo("--live")
        demo("--live")
        states = Run.objects.filter(collection=101, number__gte=91).order_by("number")
        assert [(run.number, run.state) for run in states] == [
            (91, "ready"),
            (92, "ready"),
            (93, "processing"),
        ]

    def test_without_a_processing_run_it_starts_one(self, short_story: Path) -> None:
        demo()
        Run.objects.filter(state=State.PROCESSING).delete()
        demo("--live")
        assert Run.objects.get(collection=101, number=92).state == State.READY

    def test_a_missing_collection_is_an_error(self, short_story: Path) -> None:
        demo()
        Collection.objects.filter(pk=101).delete()
        with pytest.raises(CommandError, match="AU Laptops no longer exists"):
            demo("--live")

    def test_a_run_with_another_writer_is_left_alone(self, short_story: Path) -> None:
        demo()
        ResultSetWriter.resume(Run.objects.get(collection=101, number=91))
        with pytest.raises(CommandError, match="Another process is writing run 91"):
            demo("--live")


@pytest.mark.thorough
class TestRealProcesses:
    @pytest.fixture
    def data_dir(self, tmp_path: Path) -> Path:
        manage(tmp_path, "migrate", "--verbosity=0")
        return tmp_path

    def start(self, data_dir: Path) -> tools.Process:
        command = [sys.executable, "manage.py", "demo"]
        return tools.start(
            *command, env=environment(data_dir), stdout=tools.PIPE, stderr=tools.PIPE, text=True
        )

    def test_two_at_once_create_one_demo(self, data_dir: Path) -> None:
        both = [self.start(data_dir), self.start(data_dir)]
        one, other = (process.communicate(timeout=tools.PATIENCE) for process in both)
        assert one[0] == other[0]
        assert "Password: " in one[0], one[1]

    def test_a_killed_demo_is_completed_by_the_next_call(self, data_dir: Path) -> None:
        with self.start(data_dir) as process:
            runs = data_dir / "results" / "101"
            while process.poll() is None and len(list(runs.glob("*"))) < 4:
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
        assert not json.loads((data_dir / "demo.json").read_text())["finished"]
        assert "API key: " in manage(data_dir, "demo")
        ((count,),) = databases.execute(data_dir, "SELECT count(*) FROM collections_app_run")
        ((files,),) = databases.execute(data_dir, "SELECT count(*) FROM collections_app_resultfile")
        assert count == build.run_count()
        assert sum(len(names) for _, _, names in os.walk(data_dir / "results")) == files
