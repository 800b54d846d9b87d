"""Our own storage as a source. See also test_source_contract.py."""

import errno
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.files.storage import storages
from django.utils import timezone

from collections_app.models import Collection, FileKind, ResultFile, Run
from collections_app.sources import ResultNotFound, SourceTimeout, SourceUnavailable, deliverable, source_of

CONTENT = b'[{"asin": "B000000001"}]'


@pytest.fixture
def file(laptops: Collection, results_folder: Path) -> ResultFile:
    (results_folder / "folder").mkdir(parents=True)
    (results_folder / "folder" / "key").write_bytes(CONTENT)
    file: ResultFile = Run.objects.create_next(laptops).files.create(
        kind=FileKind.PAGE,
        position=1,
        name="a.json",
        key="folder/key",
        size=len(CONTENT),
        modified=timezone.now(),
    )
    return file


@pytest.fixture
def stored(results_folder: Path, file: ResultFile) -> Path:
    return results_folder / file.key


def test_a_body_is_a_real_file(file: ResultFile) -> None:
    with deliverable(file).body.open(10, 3) as stream:
        assert stream.tell() == 10
        assert stream.fileno() > 0


def lose(stored: Path) -> None:
    stored.unlink()


def lose_the_folder(stored: Path) -> None:
    stored.unlink()
    stored.parent.rmdir()


def replace_by_a_folder(stored: Path) -> None:
    stored.unlink()
    stored.mkdir()


def replace_the_folder_by_a_file(stored: Path) -> None:
    lose_the_folder(stored)
    stored.parent.touch()


@pytest.mark.parametrize(
    "damage",
    [lose, lose_the_folder, replace_by_a_folder, replace_the_folder_by_a_file],
    ids=lambda damage: damage.__name__,
)
def test_a_missing_file_is_not_found_and_logged(
    file: ResultFile, stored: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    damage(stored)
    with pytest.raises(ResultNotFound) as problem:
        deliverable(file).body.open(0, 1)
    assert "Tell the operator" in str(problem.value)
    assert file.key not in str(problem.value)
    assert file.key in caplog.text


@pytest.mark.parametrize("content", [b"", CONTENT[:-1], CONTENT + b" "], ids=["empty", "shorter", "longer"])
def test_a_file_with_another_size_is_not_found_and_logged(
    file: ResultFile, stored: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    stored.write_bytes(content)
    with pytest.raises(ResultNotFound):
        deliverable(file).body.open(0, 1)
    assert f"{file.key} has {len(content)} bytes, not {len(CONTENT)}" in caplog.text


@pytest.mark.parametrize(
    ("number", "raised"),
    [
        (errno.EACCES, ResultNotFound),
        (errno.EMFILE, SourceUnavailable),
        (errno.EIO, SourceUnavailable),
    ],
    ids=["unreadable", "too many open files", "broken disk"],
)
def test_temporary_and_permanent_errors_differ(
    file: ResultFile,
    number: int,
    raised: type[Exception],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(*args: object) -> None:
        raise OSError(number, "It says no")

    monkeypatch.setattr(storages["results"], "open_part", refuse)
    with pytest.raises(raised):
        deliverable(file).body.open(0, 1)
    assert "It says no" in caplog.text
    assert "Traceback" not in caplog.text


def test_our_own_rows_are_always_current(laptops: Collection) -> None:
    before = timezone.now()
    freshness = source_of(laptops).refresh(laptops, deadline=timedelta(seconds=1))
    assert freshness.as_of
    assert before <= freshness.as_of <= timezone.now()
    assert freshness.problem == ""


def test_a_timeout_is_an_unavailable_source() -> None:
    assert issubclass(SourceTimeout, SourceUnavailable)
