"""Verifying the files of a run: with the command and with the button on its page."""

import hashlib
import io
import zlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.storage import storages
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from collections_app.files.verification.verify import VerificationBusy, Verifier
from collections_app.models import Collection, FileKind, Kind, ResultFile, Run, Team, Verification
from collections_app.runs.mirror import mirror_run
from collections_app.runs.writer import RecordsLost, ResultSetWriter
from collections_app.system import background
from tests.support import responses
from tests.support.faults import FileServer
from tests.support.html import text_of
from tests.support.mirrors import Files, files_of, zip_of
from tests.support.results import (
    make_failed_run,
    make_ready_run,
    records,
    store_bytes,
    stored_bytes,
    stored_keys,
)
from tests.support.upstream import make_account, make_remote_collection, make_remote_run

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def run(laptops: Collection) -> Run:
    return make_ready_run(laptops, records(5), page_size=2)


def page(run: Run, position: int) -> ResultFile:
    return run.files.get(kind=FileKind.PAGE, position=position)


def change_a_byte(file: ResultFile) -> None:
    data = bytearray(stored_bytes(file))
    data[3] ^= 1
    store_bytes(file.key, bytes(data))


def lose(file: ResultFile) -> None:
    storages["results"].delete(file.key)


# --- what is found ------------------------------------------------------------------------------


def test_an_intact_run_has_no_problems(run: Run) -> None:
    read: list[int] = []
    verifier = Verifier(run)
    assert verifier.verify(read.append) == []
    assert sum(read) == verifier.total == sum(file.size or 0 for file in run.files.all())
    verification = Verification.objects.get()
    assert (verification.problems, verification.is_under_way) == ([], False)
    assert verification.finished_at


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (change_a_byte, "The content has changed since the file was written. Restore it from a backup."),
        (lose, "The file is missing from the results storage."),
        (lambda file: store_bytes(file.key, b"short"), "The file in the results storage is damaged."),
    ],
    ids=["changed", "missing", "short"],
)
def test_each_changed_file_is_reported(run: Run, damage: Callable[[ResultFile], Any], said: str) -> None:
    damage(page(run, 2))
    (problem,) = Verifier(run).verify()
    assert problem.startswith(f"AU Laptops_1_Results_Page_2.json: {said}")
    assert "Restore it from a backup." in problem
    assert Verification.objects.get().problems == [problem]


def test_a_missing_crc_is_recorded(run: Run) -> None:
    run.files.filter(kind=FileKind.ARCHIVE).update(crc32=None)
    Verifier(run).verify()
    archive = run.files.get(kind=FileKind.ARCHIVE)
    assert archive.crc32 == zlib.crc32(stored_bytes(archive))


def test_files_at_an_account_are_checked_without_downloading_them(crawlers: Team, settings: Settings) -> None:
    pages = {"AU Laptops_7_Results_Page_1.json": b"[{}]"}
    contents = {**pages, "AU Laptops_7_Results_All_Pages.zip": zip_of(pages)}
    with FileServer(contents).running() as server:
        settings.UPSTREAM_ORIGINS = [f"http://127.0.0.1:{server.port}"]
        account = make_account(crawlers, base_url=server.base_url)
        run = make_remote_run(make_remote_collection(account, kind=Kind.AMAZON), 7)
        assert Verifier(run).verify() == []
        contents.popitem()
        (problem,) = Verifier(Run.objects.get()).verify()
    assert problem == "AU Laptops_7_Results_All_Pages.zip: The account no longer has this file."


def test_a_run_that_is_deleted_meanwhile_is_not_damaged(run: Run) -> None:
    verifier = Verifier(run)
    for file in run.files.all():
        lose(file)
    Run.objects.all().delete()
    assert verifier.verify() == []


# --- copies of an account's files ---------------------------------------------------------------

PAGE_1 = "AU Laptops_88_Results_Page_1.json"
PAGE_2 = "AU Laptops_88_Results_Page_2.json"
ZIP = "AU Laptops_88_Results_All_Pages.zip"
ENVELOPE = b'{"code": 500, "data": "Try again", "status": 0}'


@pytest.fixture
def copied(crawlers: Team) -> Run:
    """Run 88 of an account, with copies of its two pages and its ZIP."""
    run = make_remote_run(make_remote_collection(make_account(crawlers)), pages=2)
    return again(run, files_of(run))


def again(run: Run, files: Files, *problems: str) -> Run:
    """Mirror the run again and expect these problems."""
    assert mirror_run(Run.objects.get(pk=run.pk), files) == list(problems)
    return Run.objects.get(pk=run.pk)


def keep_instead(file: ResultFile, content: bytes) -> None:
    """Store wrong content instead of a file, as earlier versions of mirror did."""
    store_bytes(file.key, content)
    digest, crc32 = hashlib.sha256(content).hexdigest(), zlib.crc32(content)
    ResultFile.objects.filter(pk=file.pk).update(
        size=len(content), sha256=digest, crc32=crc32, archive_offset=None, archive_size=None, records=None
    )


def kept(run: Run) -> dict[str, bytes]:
    return {file.name: stored_bytes(file) for file in run.files.exclude(key="")}


def named(run: Run, name: str) -> ResultFile:
    return run.files.get(name=name)


@pytest.mark.parametrize(
    "content",
    [b"", ENVELOPE, b"<html></html>", b"null", b"[1]", b'[{"asin": "B1"}', b'[{"asin": "B1"}] more'],
    ids=repr,
)
def test_an_invalid_page_is_found_and_copied_again(copied: Run, content: bytes) -> None:
    keep_instead(named(copied, PAGE_2), content)
    (problem,) = Verifier(copied).verify()
    assert problem.startswith(
        f"{PAGE_2}: The account sent something that is not a list of records (line 1, column "
    )
    assert problem.endswith("“Copy results here” is on. Otherwise, run `mirror`.")
    assert not Run.objects.get(pk=copied.pk).is_kept
    files = files_of(copied)
    assert again(copied, files).is_kept
    assert files.opened == [PAGE_2, ZIP]
    assert kept(copied) == files.contents
    assert set(stored_keys()) == set(copied.files.values_list("key", flat=True))
    assert Verifier(copied).verify() == []


def test_replacing_a_page_also_replaces_the_zip(copied: Run) -> None:
    keep_instead(named(copied, PAGE_1), ENVELOPE)
    keep_instead(named(copied, ZIP), zip_of({PAGE_1: ENVELOPE, PAGE_2: stored_bytes(named(copied, PAGE_2))}))
    Verifier(copied).verify()
    files = files_of(copied)
    archive = files.contents.pop(ZIP)
    again(copied, files, f"{ZIP}: The account no longer has this file.")
    assert kept(copied) == files.contents
    files.contents[ZIP] = archive
    assert again(copied, files).is_kept
    assert kept(copied) == files.contents
    for page in copied.files.filter(kind=FileKind.PAGE):
        assert page.archive_offset is not None
        assert page.archive_size is not None
        packed = archive[page.archive_offset : page.archive_offset + page.archive_size]
        assert zlib.decompress(packed, wbits=-zlib.MAX_WBITS) == files.contents[page.name]


@pytest.mark.parametrize("content", [b"", ENVELOPE, b"[]", b"rubbish" + zip_of({}), zip_of({}) + b"rubbish"])
def test_an_invalid_zip_is_found_and_copied_again(copied: Run, content: bytes) -> None:
    keep_instead(named(copied, ZIP), content)
    (problem,) = Verifier(copied).verify()
    assert problem.startswith(f"{ZIP}: The account sent ")
    files = files_of(copied)
    assert again(copied, files).is_kept
    assert (files.opened, kept(copied)) == ([ZIP], files.contents)


@pytest.mark.parametrize(
    "damage",
    [change_a_byte, lose, lambda file: store_bytes(file.key, b"short")],
    ids=["changed", "missing", "short"],
)
def test_a_changed_copy_is_copied_again(copied: Run, damage: Callable[[ResultFile], Any]) -> None:
    damage(named(copied, PAGE_2))
    (problem,) = Verifier(copied).verify()
    assert "It is replaced automatically" in problem
    assert "backup" not in problem
    files = files_of(copied)
    assert again(copied, files).is_kept
    assert (files.opened, kept(copied)) == ([PAGE_2], files.contents)


def test_replacing_a_category_list_also_replaces_its_csv(crawlers: Team) -> None:
    collection = make_remote_collection(make_account(crawlers), kind=Kind.AMAZON_CATEGORY)
    run = make_remote_run(collection)
    files = files_of(run)
    again(run, files)
    before = kept(run)
    keep_instead(named(run, "category_asins.json"), b'{"code": 200, "asins": [{}], "status": 1}')
    (problem,) = Verifier(run).verify()
    assert problem.startswith("category_asins.json: The account sent something that is not a")
    assert again(run, files).is_kept
    assert kept(run) == before


def test_a_damaged_copy_stays_if_the_account_has_no_valid_file(copied: Run) -> None:
    keep_instead(named(copied, PAGE_2), ENVELOPE)
    Verifier(copied).verify()
    before, files = kept(copied), files_of(copied)
    del files.contents[PAGE_2]
    again(copied, files, f"{PAGE_2}: The account no longer has this file.")
    files.contents[PAGE_2] = b"<html>"
    (problem,) = mirror_run(copied, files)
    assert problem.startswith(f"{PAGE_2}: The account sent something that is not a list of records")
    assert kept(copied) == before


def test_a_restored_copy_is_no_longer_damaged(copied: Run) -> None:
    page, content = named(copied, PAGE_2), stored_bytes(named(copied, PAGE_2))
    change_a_byte(page)
    assert len(Verifier(copied).verify()) == 1
    store_bytes(page.key, content)
    assert Verifier(copied).verify() == []
    files = files_of(copied)
    assert again(copied, files).is_kept
    assert files.opened == []


def test_our_own_runs_are_restored_from_a_backup(run: Run) -> None:
    keep_instead(page(run, 1), ENVELOPE)
    change_a_byte(page(run, 2))
    (problem,) = Verifier(run).verify()
    assert problem.endswith("The content has changed since the file was written. Restore it from a backup.")
    assert not run.files.filter(is_damaged=True).exists()
    assert Run.objects.get(pk=run.pk).is_kept


def test_a_damaged_copy_is_not_delivered(as_bob: Client, copied: Run) -> None:
    keep_instead(named(copied, PAGE_2), ENVELOPE)
    Verifier(copied).verify()
    here = f"/collections/{copied.collection_id}"
    for address in (
        f"{here}/runs/88/files/{PAGE_2}",
        f"{here}/selection.zip?pages=88.1-2",
        f"{here}/selection.json?pages=88.1-2",
    ):
        response = as_bob.get(address)
        assert response.status_code == 502, address
        assert "The copy of this file is damaged." in response.content.decode()
        assert as_bob.head(address).status_code == 502
    response = as_bob.get(f"{here}/runs/88/files/{PAGE_1}")
    assert responses.content(response) == stored_bytes(named(copied, PAGE_1))


def test_a_copy_replaced_during_verification_is_not_marked_as_damaged(copied: Run) -> None:
    keep_instead(named(copied, PAGE_2), ENVELOPE)
    verifier = Verifier(copied)
    copied.files.filter(name=PAGE_2).update(is_damaged=True)
    assert again(copied, files_of(copied)).is_kept
    assert len(verifier.verify()) > 0  # the copy that it read is gone
    assert not copied.files.filter(is_damaged=True).exists()
    assert Run.objects.get(pk=copied.pk).is_kept


# --- one at a time ------------------------------------------------------------------------------


def test_a_run_has_one_verifier_at_a_time(run: Run) -> None:
    first = Verifier(run)
    with pytest.raises(VerificationBusy):
        Verifier(run)
    first.verify()
    assert Verifier(run).verify() == []


@pytest.mark.parametrize(
    "shift", [timedelta(seconds=-1), timedelta(hours=2)], ids=["killed", "clock put back"]
)
def test_the_lease_of_a_killed_verifier_expires(run: Run, shift: timedelta) -> None:
    killed = Verifier(run)
    Verification.objects.update(lease_expires_at=timezone.now() + shift)
    assert not Verification.objects.get().is_under_way
    change_a_byte(page(run, 1))
    assert len(Verifier(run).verify()) == 1
    killed.verify()  # it was not killed after all, and changes nothing
    assert Verification.objects.get().problem_count == 1


# --- the command --------------------------------------------------------------------------------


def verify(*args: object) -> tuple[str, str, str]:
    """Call the command. Return its output, its errors, and why it failed."""
    out, err, failure = io.StringIO(), io.StringIO(), ""
    try:
        call_command("verify", *map(str, args), stdout=out, stderr=err, no_color=True)
    except CommandError as error:
        failure = str(error)
    return out.getvalue(), err.getvalue(), failure


def test_the_command_verifies_everything(run: Run, headphones: Collection, laptops: Collection) -> None:
    make_ready_run(headphones)
    make_failed_run(laptops)
    assert verify() == ("2 runs verified and intact.\n", "", "")
    assert Verification.objects.count() == 2


def test_the_command_verifies_one_collection_or_run(run: Run, laptops: Collection) -> None:
    for _ in range(2):
        make_ready_run(laptops)
    assert verify("AU Laptops")[0] == "3 runs verified and intact.\n"
    assert verify(101, 1, 3)[0] == "2 runs verified and intact.\n"


def test_the_command_skips_a_run_that_is_deleted_meanwhile(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    begin = Verification.objects.begin

    def deleted_first(run: Run, total: int) -> Verification | None:
        Run.objects.all().delete()
        return begin(run, total)

    monkeypatch.setattr(Verification.objects, "begin", deleted_first)
    assert verify()[0] == "0 runs verified and intact.\n"


def test_the_command_reports_damaged_files_and_fails(run: Run, laptops: Collection) -> None:
    make_ready_run(laptops)
    change_a_byte(page(run, 1))
    out, err, failure = verify(101)
    assert out == "1 run verified and intact.\n"
    assert "AU Laptops_1_Results_Page_1.json: The content has changed since" in err
    assert failure == "1 run with files that are damaged, missing, or could not be verified; see above."


@pytest.mark.parametrize(
    ("args", "said"),
    [(["Nothing"], "Nothing"), ([101, 9], "no run 9"), ([101, 2], "Run 2 failed"), ([101, "x"], "number")],
    ids=str,
)
def test_the_command_reports_unknown_arguments(
    run: Run, laptops: Collection, args: list[object], said: str
) -> None:
    make_failed_run(laptops)
    assert said in verify(*args)[2]


# --- the button ---------------------------------------------------------------------------------


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Verify within the request."""
    monkeypatch.setattr(background, "in_background", lambda work, **_: work())


@pytest.mark.usefixtures("at_once")
def test_a_member_verifies_and_sees_the_result(as_bob: Client, run: Run) -> None:
    address = "/collections/101/runs/1/"
    assert "Verify to check them again" in as_bob.get(address).content.decode()
    response = as_bob.post("/collections/101/runs/1/verify")
    assert (response.status_code, response["Location"]) == (302, "/collections/101/runs/1/")
    assert "All files are intact" in as_bob.get(address).content.decode()
    change_a_byte(page(run, 2))
    as_bob.post("/collections/101/runs/1/verify")
    shown = as_bob.get(address).content.decode()
    assert "1 invalid file" in shown
    assert "AU Laptops_1_Results_Page_2.json: The content has changed since" in shown


def test_htmx_polls_the_progress(as_bob: Client, run: Run) -> None:
    verifier = Verifier(run)
    part = as_bob.get("/collections/101/runs/1/verify", headers={"HX-Request": "true"}).content.decode()
    assert 'hx-trigger="every 1s"' in part
    verifier.verify()
    part = as_bob.get("/collections/101/runs/1/verify", headers={"HX-Request": "true"}).content.decode()
    assert "every 1s" not in part
    assert 'data-announce="Run 1 is verified"' in part


def test_a_second_request_meanwhile_is_refused(as_bob: Client, run: Run) -> None:
    Verifier(run)
    response = as_bob.post("/collections/101/runs/1/verify", follow=True)
    assert "Run 1 is already being verified." in response.content.decode()


def test_a_process_verifies_two_runs_at_once_and_one_per_person(
    as_bob: Client,
    as_adam: Client,
    as_alice: Client,
    laptops: Collection,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waiting: list[Callable[[], None]] = []
    monkeypatch.setattr(background, "in_background", lambda work, **_: waiting.append(work))
    for _ in range(2):
        make_ready_run(laptops)
    as_bob.post("/collections/101/runs/1/verify")
    response = as_bob.post("/collections/101/runs/2/verify", follow=True)
    assert "One of your runs is being verified. Wait for it to finish." in text_of(response.content.decode())
    as_adam.post("/collections/101/runs/2/verify")
    response = as_alice.post("/collections/101/runs/3/verify", follow=True)
    assert "Too many runs are being verified." in response.content.decode()
    for work in waiting:
        work()
    as_bob.post("/collections/101/runs/3/verify")
    waiting[-1]()
    assert Verification.objects.exclude(finished_at=None).count() == 3


def test_a_run_that_is_not_ready_can_not_be_verified(as_bob: Client, laptops: Collection) -> None:
    make_failed_run(laptops)
    assert as_bob.post("/collections/101/runs/1/verify").status_code == 404


# --- at write time ------------------------------------------------------------------------------


def test_a_run_that_lost_records_does_not_become_ready(laptops: Collection) -> None:
    writer = ResultSetWriter.start(laptops, page_size=2)
    for record in records(5):
        writer.add_record(record)
    ResultFile.objects.filter(position=2).update(records=1)
    with pytest.raises(RecordsLost, match="5 records were added to run 1; its files contain 4"), writer:
        pass  # leaving the block finishes the run
    assert not Run.objects.exists()


def test_a_run_with_fewer_records_than_requested_is_partial(as_bob: Client, laptops: Collection) -> None:
    with ResultSetWriter.start(laptops, total=250) as writer:
        writer.add_record({"asin": "B1"})
    assert Run.objects.get().is_partial
    assert "1 of 250 records were found" in " ".join(
        as_bob.get("/collections/101/runs/1/").content.decode().split()
    )
