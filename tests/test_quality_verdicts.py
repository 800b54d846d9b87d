"""Verdicts of runs, as the worker makes them."""

from datetime import timedelta

import pytest
from django.utils import timezone

from collections_app.management.worker import Judge, Slicer, Worker
from collections_app.models import Collection, Overrule, Run, Slice, TrackingSettings, Verdict
from collections_app.records.quality import verdicts
from collections_app.records.quality.profile import ColumnProfile, ProductChanges, Profile
from collections_app.records.tracking.slice_builder import build_slice
from collections_app.runs.removal import delete_run
from tests.support.results import make_ready_run
from tests.support.verdicts import CHANGES, make_sliced_run

pytestmark = pytest.mark.django_db

GOOD, FEW, CENTS, UNREADABLE = "good", "few", "cents", "unreadable"


@pytest.fixture
def profiles(monkeypatch: pytest.MonkeyPatch) -> dict[int, str]:
    """Say what each run's records look like, by its number, instead of reading them."""
    looks: dict[int, str] = {}

    def profile(run: Run, settings: TrackingSettings, old: Verdict | None) -> Profile:
        if looks[run.number] == UNREADABLE:
            raise OSError("The disk is damaged.")
        records = 40 if looks[run.number] == FEW else 100
        return Profile(records, columns={"title": ColumnProfile(records, 0)}, has_key=True)

    def with_changes(found: Profile, run: Run, since: Run, settings: TrackingSettings) -> Profile:
        level = {GOOD: 1.0, FEW: 1.0, CENTS: 100.0}
        ratio = level[looks[run.number]] / level[looks[since.number]]
        changes = ProductChanges(**{**vars(CHANGES), "price_ratio": ratio})
        return Profile(**{**vars(found), "since": since.number, "changes": changes})

    monkeypatch.setattr(verdicts, "_profile", profile)
    monkeypatch.setattr(verdicts, "_with_changes", with_changes)
    return looks


def make_runs(collection: Collection, profiles: dict[int, str], *looks: str) -> list[Run]:
    profiles |= dict(enumerate(looks, start=1))
    return [make_sliced_run(collection, number) for number in range(1, len(looks) + 1)]


def judge_all() -> None:
    judge = Judge()
    for _ in range(200):
        if not judge.run_once():
            return
    raise AssertionError("It never ends.")


def levels() -> list[str]:
    return list(Verdict.objects.order_by("run__number").values_list("level", flat=True))


def test_a_run_is_judged_once_three_trusted_runs_precede_it(
    laptops: Collection, profiles: dict[int, str]
) -> None:
    make_runs(laptops, profiles, GOOD, GOOD, GOOD, CENTS, GOOD)
    judge_all()
    assert levels() == ["learning", "learning", "learning", "broken", "good"]
    last = Verdict.objects.get(run__number=5)
    assert last.baseline == [3, 2, 1]
    assert Profile.from_json(last.profile).since == 3


def test_the_newest_run_is_judged_first(laptops: Collection, profiles: dict[int, str]) -> None:
    make_runs(laptops, profiles, GOOD, GOOD)
    Judge().run_once()
    assert [each.run.number for each in Verdict.objects.all()] == [2]


def test_the_order_in_which_runs_arrive_does_not_matter(
    laptops: Collection, profiles: dict[int, str]
) -> None:
    looks = [GOOD, GOOD, GOOD, CENTS, FEW, GOOD, FEW, GOOD]
    runs = make_runs(laptops, profiles, *looks)
    judge_all()
    expected = list(Verdict.objects.order_by("run").values("level", "baseline", "reasons", "profile"))
    Verdict.objects.all().delete()
    for run in (runs[7], runs[0], *runs[1:7][::-1]):
        Slice.objects.filter(run=run).update(needs_verdict=True)
        judge_all()
    assert list(Verdict.objects.order_by("run").values("level", "baseline", "reasons", "profile")) == expected
    assert levels()[3:] == ["broken", "broken", "good", "broken", "good"]


def test_after_runs_are_deleted_other_verdicts_stay(laptops: Collection, profiles: dict[int, str]) -> None:
    runs = make_runs(laptops, profiles, GOOD, GOOD, GOOD, CENTS)
    judge_all()
    delete_run(runs[2])
    assert list(Verdict.objects.filter(is_due=True).values_list("run__number", flat=True)) == [4]
    judge_all()
    assert levels() == ["learning", "learning", "broken"]


def test_a_new_key_makes_all_verdicts_again(laptops: Collection, profiles: dict[int, str]) -> None:
    make_runs(laptops, profiles, GOOD, GOOD)
    judge_all()
    TrackingSettings.objects.update(version=2)
    judge_all()
    assert set(Verdict.objects.values_list("settings_version", "is_due")) == {(2, False)}


def test_a_verdict_is_not_stored_if_its_baseline_changed_meanwhile(
    laptops: Collection, profiles: dict[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    *_, last = make_runs(laptops, profiles, GOOD, GOOD, GOOD, GOOD)
    judge_all()
    judgment = verdicts._judgment(last)
    first = Verdict.objects.get(run__number=1)
    Verdict.objects.filter(pk=first.pk).update(overrule=Overrule.DISTRUSTED, overruled_at=timezone.now())
    assert not verdicts._store(judgment)


def test_a_run_that_can_not_be_read_delays_no_other(laptops: Collection, profiles: dict[int, str]) -> None:
    make_runs(laptops, profiles, GOOD, UNREADABLE)
    judge_all()
    assert [each.run.number for each in Verdict.objects.all()] == [1]


@pytest.mark.usefixtures("results_folder")
def test_the_worker_judges_runs_by_their_records(laptops: Collection) -> None:
    for day, price in enumerate((100, 101, 101, 102, 10200)):
        content = [{"asin": f"B{n}", "title": f"Laptop {n}", "price": n + price} for n in range(20)]
        make_ready_run(laptops, content, at=timezone.now() - timedelta(days=10 - day))
    worker = Worker(Slicer(), Judge())
    while worker.run_once():
        pass
    assert levels() == ["learning", "learning", "learning", "good", "broken"]
    assert Verdict.objects.get(run__number=5).reasons[0]["level"] == "broken"


@pytest.mark.usefixtures("results_folder")
def test_a_run_is_judged_before_a_key_is_suggested(laptops: Collection) -> None:
    # The worker is killed between the slice and the suggestion.
    build_slice(make_ready_run(laptops, [{"asin": "B1"}]))
    judge_all()
    assert levels() == ["learning"]
    assert TrackingSettings.objects.get(collection=laptops).key == ("asin",)
