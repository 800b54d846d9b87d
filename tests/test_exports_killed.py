"""A process that is killed while it builds an export leaves no partial file, and another one starts again."""

import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import databases, tools
from tests.support.server import environment, manage

# It stops after writing a part, and prints a line.
MAKE = """
import time
from collections_app.records.exports import build, create
from collections_app.records.formats.export_formats import Format, ExportSpec
from collections_app.records.exports.subject import Subject
from collections_app.models import Run
create._QUICK = dict.fromkeys(Format, -1)
runs = Run.objects.filter(collection=101, number__in=NUMBERS).select_related("collection").order_by("number")
subject = Subject.table(runs) if len(runs) > 1 else Subject(tuple(runs))
export = create._create(subject, ExportSpec(Format.CSV), again=False)

def write_a_part(read, spec, out, *, folder, is_over):
    out.write(b"asin")
    (folder / "rows.csv").write_text("a")
    print("half", flush=True)
    time.sleep(600)

build.write_records = write_a_part
build.build_export(export)
"""
LAPSED = """
from datetime import timedelta
from django.utils import timezone
from collections_app.models import Export
export = Export.objects.get()
assert export.state == "running" and not export.key, export.state
Export.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
"""
STATE = """
from collections_app.models import Export
export = Export.objects.get()
print(export.state, export.done, export.key)
"""


def shell(data_dir: Path, code: str) -> str:
    return manage(data_dir, "shell", "--no-imports", "--command", code).strip()


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def end_in_the_middle(
    demo_data: Path, data_dir: Path, how: signal.Signals, runs: tuple[int, ...] = (88,)
) -> None:
    databases.copy(demo_data, data_dir)
    command = [sys.executable, "manage.py", "shell", "--no-imports", "--command"]
    command.append(MAKE.replace("NUMBERS", repr(runs)))
    options: dict[str, Any] = {"stdout": tools.PIPE, "stderr": tools.DEVNULL, "text": True}
    with tools.start(*command, env=environment(data_dir), **options) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "half\n"
        process.send_signal(how)


@pytest.mark.no_cover
@pytest.mark.thorough
def test_an_interrupted_export_returns_to_the_queue(demo_data: Path, tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    end_in_the_middle(demo_data, data_dir, signal.SIGINT)
    assert shell(data_dir, STATE).split() == ["queued", "0"]
    assert files_in(data_dir / "results" / "exports") == files_in(data_dir / "exports") == []
    manage(data_dir, "work", "--once")
    assert shell(data_dir, STATE).split()[:2] == ["ready", "250"]


@pytest.mark.no_cover
@pytest.mark.parametrize(
    ("runs", "header"),
    [((88,), "asin,"), pytest.param((87, 88), "run,run_time,asin,", marks=pytest.mark.thorough)],
)
def test_another_process_starts_a_killed_export_again(
    demo_data: Path, tmp_path: Path, runs: tuple[int, ...], header: str
) -> None:
    data_dir = tmp_path / "data"
    end_in_the_middle(demo_data, data_dir, signal.SIGKILL, runs)
    (aside,) = files_in(data_dir / "results" / "exports")
    assert aside.endswith(".part")
    assert len(files_in(data_dir / "exports")) == 1

    shell(data_dir, LAPSED)
    manage(data_dir, "work", "--once")
    state, done, key = shell(data_dir, STATE).split()
    assert (state, done) == ("ready", str(250 * len(runs)))
    assert files_in(data_dir / "results" / "exports") == [key.rpartition("/")[2]]
    assert files_in(data_dir / "exports") == []
    content = (data_dir / "results" / key).read_text()
    assert content.startswith(header)
    assert content.endswith("\n")
