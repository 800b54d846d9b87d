"""Measures the preview of a run beside DuckDB asked directly, on the same records in the same run.

Each question is asked A B A B, so that what else the machine does meets both. DuckDB reads the JSON for each
question, as its command line does; the preview reads it once, into its table, whose making is given too.
"""

import argparse
import json
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import duckdb

from tests.server import environment

TARGET = 1.2
FIRST_TARGET = 1.0
MEBIBYTE = 2**20
WORDS = [
    "quiet",
    "bright",
    "wireless",
    "compact",
    "gaming",
    "portable",
    "silver",
    "keyboard",
    "screen",
    "fast",
]


def main() -> None:
    """Measure and print one table."""
    options = parse()
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.folder) as name:
        folder = Path(name)
        os.environ.update(environment(folder))
        setup(folder)
        compare(folder, options)
        measure_large(folder, options.large)


def parse() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description="Compare a run's preview with DuckDB by itself.")
    parser.add_argument("--mebibytes", type=int, default=20, help="the size of the page (%(default)s)")
    parser.add_argument("--pairs", type=int, default=11, help="how often each is asked (%(default)s)")
    parser.add_argument(
        "--large", type=int, default=1024, help="MiB of the large run; 0 for none (%(default)s)"
    )
    parser.add_argument("--folder", help="where the files are made (the system's place for such files)")
    return parser.parse_args()


def setup(folder: Path) -> None:
    """Make a database."""
    import django  # noqa: PLC0415  # the settings read the environment that was set just now

    django.setup()
    from django.core.management import call_command  # noqa: PLC0415

    call_command("migrate", verbosity=0)
    (folder / "converted").mkdir(exist_ok=True)


def records(mebibytes: int) -> Iterator[str]:
    """Yield so many MiB of records as JSON."""
    chance = random.Random(1)  # noqa: S311  # the same ones each time
    size, number = 0, 0
    while size < mebibytes * MEBIBYTE:
        number += 1
        text = json.dumps(
            {
                "asin": f"B{number:09}",
                "title": " ".join(chance.choices(WORDS, k=12)),
                "brand": chance.choice(WORDS),
                "price_cents": chance.randrange(100, 500_000),
                "in_stock": chance.random() < 0.9,  # noqa: PLR2004
                "rating": round(chance.uniform(1, 5), 1),
                "images": [f"https://images.example.com/{number}/{image}.jpg" for image in range(4)],
                "specifications": {"Screen": chance.choice(WORDS), "Memory": chance.choice(WORDS)},
                "description": " ".join(chance.choices(WORDS, k=40)),
            }
        )
        size += len(text) + 1
        yield text


def make_page(path: Path, mebibytes: int) -> None:
    """Write a page of so many MiB."""
    with path.open("w") as page:
        page.write("[")
        for place, text in enumerate(records(mebibytes)):
            page.write(f",{text}" if place else text)
        page.write("]")


def make_run(folder: Path, name: str, mebibytes: int):  # noqa: ANN201  # a model; Django isn't there yet
    """Make a completed run of one page, and return it as the page of a run has it."""
    from django.utils import timezone  # noqa: PLC0415

    from collections_app.models import Collection, FileKind, Run, State, Team  # noqa: PLC0415

    path = folder / "results" / name
    path.parent.mkdir(exist_ok=True)
    make_page(path, mebibytes)
    team, _ = Team.objects.get_or_create(name="Bench")
    collection, _ = Collection.objects.get_or_create(team=team, name="Bench")
    run = collection.next_run()
    run.files.create(
        kind=FileKind.PAGE, position=1, name=name, key=name, size=path.stat().st_size, modified=timezone.now()
    )
    Run.objects.filter(pk=run.pk).update(state=State.READY, file_count=1)
    return Run.objects.with_files().get(pk=run.pk), path


def compare(folder: Path, options: argparse.Namespace) -> None:
    """Let both answer each question in turn, and print what it took."""
    from collections_app.preview.first import first_records  # noqa: PLC0415
    from collections_app.preview.questions import Question, answer  # noqa: PLC0415
    from collections_app.preview.records import files_of_records  # noqa: PLC0415
    from collections_app.preview.table import table_of  # noqa: PLC0415

    run, path = make_run(folder, "page.json", options.mebibytes)
    files = files_of_records(run)
    started = time.perf_counter()
    table = table_of(files, seconds=600)
    made = time.perf_counter() - started
    source = f"read_json('{path}')"
    questions: list[tuple[str, Callable[[], object], str]] = [
        ("the first 100 records", lambda: first_records(files), f"FROM {source} LIMIT 100"),
        (
            "search",
            lambda: answer(table, Question("gaming portable silver")),
            f"FROM {source} WHERE title ILIKE '%gaming portable silver%' LIMIT 100",
        ),
        (
            "sort by a number",
            lambda: answer(table, Question(sort="price_cents", descending=True)),
            f"FROM {source} ORDER BY price_cents DESC LIMIT 100",
        ),
        (
            "sort by a text",
            lambda: answer(table, Question(sort="title")),
            f"FROM {source} ORDER BY title LIMIT 100",
        ),
    ]
    print_machine()
    print(
        f"| {options.mebibytes} MiB, seconds, {options.pairs} pairs | this site | DuckDB | ratio | target |"
    )
    print("|---|---|---|---|---|")
    for name, ours, theirs in questions:
        pairs = [(timed(ours), timed(partial(ask_duckdb, theirs))) for _ in range(options.pairs)]
        mine, other = (statistics.median(pair[side] for pair in pairs) for side in (0, 1))
        ratio = statistics.median(one / two for one, two in pairs)
        print(f"| {name} | {mine:.3f} | {other:.3f} | {ratio:.2f} | {TARGET} |")
    print(f"\nThe table was made once, in {made:.2f} s.")


def ask_duckdb(statement: str) -> None:
    """Let DuckDB answer by itself."""
    duckdb.sql(statement).fetchall()


def timed(work: Callable[[], object]) -> float:
    """Return how many seconds something takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def measure_large(folder: Path, mebibytes: int) -> None:
    """Print how long the first records of a large run take, and what its table does."""
    from collections_app.preview.first import first_records  # noqa: PLC0415
    from collections_app.preview.questions import Question, answer  # noqa: PLC0415
    from collections_app.preview.records import files_of_records  # noqa: PLC0415
    from collections_app.preview.table import table_of  # noqa: PLC0415

    if not mebibytes:
        return
    run, _ = make_run(folder, "large.json", mebibytes)
    files = files_of_records(run)
    before = forget_the_most()
    first = timed(lambda: first_records(files))
    first_memory = memory("VmHWM") - before
    print(f"\n| {mebibytes} MiB | this site | target |\n|---|---|---|")
    print(f"| the first 100 records, seconds | {first:.3f} | {FIRST_TARGET} |")
    print(f"| memory that they take, MiB | {first_memory:.1f} | |")
    before = forget_the_most()
    made = timed(lambda: table_of(files, seconds=1200))
    table = table_of(files, seconds=1)
    print(f"| the table, once, in the background, seconds | {made:.1f} | |")
    print(f"| memory that this takes at most, MiB | {memory('VmHWM') - before:.1f} | |")
    print(f"| records in it | {table.records:,} | |")
    print(f"| its size, MiB | {table.path.stat().st_size / MEBIBYTE:.0f} | |")
    before = forget_the_most()
    for name, question in (
        ("search", Question("gaming portable silver")),
        ("sort by a number", Question(sort="price_cents", descending=True)),
        ("sort by a text", Question(sort="title")),
        ("records from 100,000 on", Question(after=100_000)),
    ):
        print(f"| {name}, seconds | {timed(partial(answer, table, question)):.2f} | |")
    print(f"| memory that these take at most, MiB | {memory('VmHWM') - before:.0f} | |")


def memory(what: str) -> float:
    """Return this process's VmRSS or VmHWM (the most so far), in MiB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{what}:")[1].split()[0]) / 1024


def forget_the_most() -> float:
    """Let VmHWM begin anew, and return what there is now."""
    Path("/proc/self/clear_refs").write_text("5")
    return memory("VmRSS")


def print_machine() -> None:
    """Print the day and what was measured on."""
    release = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    print(
        f"{datetime.now(UTC):%Y-%m-%d}: {os.cpu_count()} cores, {release}, "
        f"Python {platform.python_version()}, DuckDB {duckdb.__version__}\n"
    )


if __name__ == "__main__":
    main()
